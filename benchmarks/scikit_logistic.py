"""scikit-learn's logistic regression on a table; run by ``scoring_graph`` in the peers' environment.

python scikit_logistic.py TABLE.npz OUT.npz     train_rows, train_labels, test_rows; then plain, squares
"""

import sys

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler


def main() -> None:
    """Fit on the table as it is, and with squares and products of its columns; write what is said of the test rows."""
    table = np.load(sys.argv[1])
    said = {}
    for name, degree in (("plain", 1), ("squares", 2)):
        model = make_pipeline(
            StandardScaler(),
            PolynomialFeatures(degree, include_bias=False),
            LogisticRegressionCV(Cs=np.logspace(-4, 1, 6), scoring="roc_auc", cv=5, max_iter=2000),
        )
        model.fit(table["train_rows"], table["train_labels"])
        said[name] = model.predict_proba(table["test_rows"])[:, 1]
    np.savez(sys.argv[2], **said)


if __name__ == "__main__":
    main()
