"""GraphSAGE with mean aggregation (Hamilton et al., arXiv:1706.02216), in Paddle."""

from __future__ import annotations

from compress.paddle_env import paddle


class Layer(paddle.nn.Layer):
    """What a node is, and the mean of what its neighbours are: (N, ``width``) to (N, ``out``)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.own = paddle.nn.Linear(width, out)
        self.neighbours = paddle.nn.Linear(width, out, bias_attr=False)

    def forward(self, nodes, edges):
        """One hop."""
        source, target = edges[0], edges[1].unsqueeze(-1)
        one = paddle.ones_like(nodes[:, :1])
        total = paddle.scatter_nd_add(paddle.zeros_like(nodes), target, paddle.gather(nodes, source))
        count = paddle.scatter_nd_add(paddle.zeros_like(one), target, paddle.gather(one, source))
        mean = total / paddle.clip(count, min=1.0)
        return paddle.nn.functional.relu(self.own(nodes) + self.neighbours(mean))


class GraphSage(paddle.nn.Layer):
    """Nodes (N, ``features``) float32 and edges (2, E) int64, source and target, to (N, ``hidden``): two hops."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.first = Layer(features, hidden)
        self.second = Layer(hidden, hidden)

    def forward(self, nodes, edges):
        """Both hops."""
        return self.second(self.first(nodes, edges), edges)


class Members(paddle.nn.Layer):
    """The probability that each node belongs to a gang: (N, 2), not and is."""

    def __init__(self, features: int, hidden: int = 32) -> None:
        super().__init__()
        self.encoder = GraphSage(features, hidden)
        self.head = paddle.nn.Linear(hidden, 2)

    def forward(self, nodes, edges):
        """Probabilities."""
        return paddle.nn.functional.softmax(self.logits(nodes, edges), axis=-1)

    def logits(self, nodes, edges):
        """Before the softmax."""
        return self.head(self.encoder(nodes, edges))
