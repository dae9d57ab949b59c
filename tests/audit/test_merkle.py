"""The tree against its own definition (RFC 9162 s2.1.1, written down once more), and against every lie about it."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import merkle
from chain.merkle import Frontier

LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(70)]


def mth(leaves: list[bytes]) -> bytes:
    """The definition, as it stands in the RFC."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def nodes(level: int, index: int) -> bytes:
    end = (index + 1) << level
    assert end <= len(LEAVES), "a subtree that is not complete was asked for"
    return mth(LEAVES[index << level : end])


def test_the_example_of_the_standard() -> None:
    """RFC 9162 s2.1.5: seven leaves d0 to d6."""
    d = LEAVES[:7]
    g, h, i = merkle.node_hash(d[0], d[1]), merkle.node_hash(d[2], d[3]), merkle.node_hash(d[4], d[5])
    k, l = merkle.node_hash(g, h), merkle.node_hash(i, d[6])  # noqa: E741 - the names of the standard
    assert merkle.inclusion(0, 7, nodes) == [d[1], h, l]
    assert merkle.inclusion(3, 7, nodes) == [d[2], g, l]
    assert merkle.inclusion(4, 7, nodes) == [d[5], d[6], k]
    assert merkle.inclusion(6, 7, nodes) == [i, k]
    assert merkle.consistency(3, 7, nodes) == [d[2], d[3], g, l]
    assert merkle.consistency(4, 7, nodes) == [l]
    assert merkle.consistency(6, 7, nodes) == [i, d[6], k]


@pytest.mark.parametrize("size", range(len(LEAVES) + 1))
def test_root_is_that_of_the_definition_and_grows_leaf_by_leaf(size: int) -> None:
    frontier, seen = Frontier(), {}
    for leaf in LEAVES[:size]:
        seen |= {(level, index): found for level, index, found in frontier.append(leaf)}
    assert frontier.root == merkle.root(size, nodes) == mth(LEAVES[:size])
    assert all(found == nodes(*place) for place, found in seen.items())
    again = Frontier(size, [seen[place] for place in merkle.complete(0, size)])
    assert (again.root, again.size) == (frontier.root, size)


def test_every_proof_of_every_small_tree_holds_and_no_other_leaf_has_it() -> None:
    shown = 0
    for size in range(1, 34):
        top = mth(LEAVES[:size])
        for index in range(size):
            path = merkle.inclusion(index, size, nodes)
            assert merkle.proves_inclusion(LEAVES[index], index, size, path, top)
            others = (place for place in range(size + 2) if place != index)
            assert not any(merkle.proves_inclusion(LEAVES[index], place, size, path, top) for place in others)
            assert not merkle.proves_inclusion(LEAVES[-1], index, size, path, top)
            shown += 1
    assert shown == 33 * 34 // 2


def test_every_small_tree_is_the_beginning_of_every_larger_one() -> None:
    for second in range(1, 34):
        after = mth(LEAVES[:second])
        for first in range(1, second + 1):
            path, before = merkle.consistency(first, second, nodes), mth(LEAVES[:first])
            assert merkle.proves_consistency(first, second, path, before, after)
            if first < second:
                assert not merkle.proves_consistency(first, second, path, after, after)
                assert not merkle.proves_consistency(first, second, path, before, before)


@given(st.data())
def test_a_proof_with_anything_changed_is_none(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 69))
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size - 1))
    top, before = mth(LEAVES[:size]), mth(LEAVES[:first])
    for path, holds in (
        (merkle.inclusion(index, size, nodes), lambda p: merkle.proves_inclusion(LEAVES[index], index, size, p, top)),
        (merkle.consistency(first, size, nodes), lambda p: merkle.proves_consistency(first, size, p, before, top)),
    ):
        assert holds(path)
        place = data.draw(st.integers(0, len(path) - 1))
        flipped = bytes([path[place][0] ^ 1]) + path[place][1:]
        for changed in (
            [*path[:place], flipped, *path[place + 1 :]],
            [*path[:place], *path[place + 1 :]],
            [*path, path[-1]],
            [path[place], *path],
            [],
        ):
            assert changed == path or not holds(changed)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (5, 3)])
def test_a_leaf_beyond_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="not in a tree"):
        merkle.inclusion(index, size, nodes)
    assert not merkle.proves_inclusion(LEAVES[0], index, size, [], LEAVES[0])
    assert merkle.proves_inclusion(LEAVES[0], 0, 1, [], LEAVES[0])


@pytest.mark.parametrize(("first", "second"), [(0, 3), (4, 3), (-1, 3)])
def test_sizes_out_of_order_have_no_proof(first: int, second: int) -> None:
    with pytest.raises(ValueError, match="not the beginning"):
        merkle.consistency(first, second, nodes)
    assert not merkle.proves_consistency(first, second, [], LEAVES[0], LEAVES[0])
    assert merkle.proves_consistency(3, 3, [], LEAVES[0], LEAVES[0])


def test_a_frontier_has_one_hash_for_each_subtree() -> None:
    with pytest.raises(ValueError, match="hashes for a tree of 3"):
        Frontier(3, [LEAVES[0]])
