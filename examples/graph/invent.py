"""Invented networks around loan applicants: who shares a telephone, a device or an address with whom.

Nobody is in here. A network is an applicant, who is node 0, and those within two steps. Ordinary people have a
household and a few colleagues. A gang shares devices crosswise, opened its accounts lately, and some of it have
defaulted before; an applicant of a gang looks much like anybody else. One ordinary person in eight knows somebody who
has defaulted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEATURES = ("log_income", "account_years", "telephones", "applications_30_days", "has_defaulted", "is_applicant")


@dataclass(frozen=True)
class Network:
    """One applicant's network.

    Attributes:
        nodes: (N, ``FEATURES``) float32.
        edges: (2, E) int64, source and target; both directions, and from every node to itself, so that there are
            always some.
        labels: (N,) int64, 1 for a member of a gang.
    """

    nodes: NDArray[np.float32]
    edges: NDArray[np.int64]
    labels: NDArray[np.int64]


def network(rng: np.random.Generator, *, gang: bool) -> Network:
    """Draw one."""
    members = int(rng.integers(5, 14)) if gang else 0
    others = int(rng.integers(4, 14))
    size = members + others
    labels = np.array([1] * members + [0] * others)
    income = rng.normal(9.0, 0.5, size)
    years = np.where(labels == 1, rng.gamma(2.0, 1.0, size), rng.gamma(2.0, 2.5, size))
    telephones = 1 + rng.poisson(np.where(labels == 1, 0.8, 0.4))
    applications = rng.poisson(np.where(labels == 1, 0.9, 0.2))
    defaulted = rng.random(size) < np.where(labels == 1, 0.35, 0.02)
    if rng.random() < 0.125 and others > 1:
        defaulted[-1] = True
    defaulted[0] = False  # who has defaulted is refused long before
    pairs = {(a, b) for a in range(members) for b in range(a) if rng.random() < 0.5}
    pairs |= {(node, int(rng.integers(0, node))) for node in range(1, size)}  # all are connected
    pairs |= {(a, b) for a in range(members, size) for b in range(members, a) if rng.random() < 0.15}
    both = [*pairs, *((b, a) for a, b in pairs), *((node, node) for node in range(size))]
    is_applicant = np.arange(size) == 0
    nodes = np.stack([income, years, telephones, applications, defaulted, is_applicant], axis=1)
    return Network(nodes.astype(np.float32), np.array(sorted(both), np.int64).T, labels)


def networks(count: int, seed: int) -> list[Network]:
    """As many; one in four is a gang's."""
    rng = np.random.default_rng(seed)
    return [network(rng, gang=rng.random() < 0.25) for _ in range(count)]


def joined(some: list[Network]) -> Network:
    """Several networks as one graph of unconnected parts, which is how graphs are batched."""
    starts = np.cumsum([0, *(len(each.nodes) for each in some[:-1])])
    edges = [each.edges + start for each, start in zip(some, starts, strict=True)]
    return Network(
        np.concatenate([each.nodes for each in some]),
        np.concatenate(edges, axis=1),
        np.concatenate([each.labels for each in some]),
    )
