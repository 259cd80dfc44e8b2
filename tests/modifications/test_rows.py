"""Rows of a pack, read and changed in place: the same values and gradients as with index operations, and errors where it would be wrong."""

import pytest
import torch
from torch.nn import LayerNorm, Linear
from torch.nn.functional import relu

from pelt_automl.backbones.architectures import Part
from pelt_automl.modifications.rows import Rows, add, add_product, fork, scale

N, B, T, H = 5, 2, 3, 6
PLACES = {
    "one": Rows.at([2]),
    "neighbors": Rows.at([1, 2, 3]),
    "scattered": Rows.at([0, 2, 3]),
    "all": Rows.at([0, 1, 2, 3, 4]),
    "part": Rows.at([1, 2], Part("qkv", 1, 3)),
    "scattered part": Rows.at([0, 4], Part("qkv", 2, 3)),
}
"""By a name; with a part the states are three times as wide."""

everywhere = pytest.mark.parametrize("place", PLACES)


def slots_of(rows):
    return [slot for slots in rows.neighbors for slot in slots]


def columns_of(rows):
    return slice(None) if rows.part is None else slice(rows.part.index * H, (rows.part.index + 1) * H)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Site:
    """A frozen map of states below it, and a reader above that isn't linear."""

    def __init__(self, place, norm=False):
        self.rows = PLACES[place]
        width = H * (self.rows.part.of if self.rows.part else 1)
        self.map = (LayerNorm(width) if norm else Linear(H, width)).double().requires_grad_(False)
        self.states = drawn(N, B, T, width if norm else H, seed=1).requires_grad_()

    def gradients(self, computed, *trained):
        """Of the states below and of what is trained."""
        return computed, torch.autograd.grad((computed.sin() * drawn(*computed.shape, seed=9)).sum(), [self.states, *trained])

    def plainly(self, output, own):
        """The output with `own` in place of the rows, by one copy a row."""
        whole = output.clone()
        for row, slot in enumerate(slots_of(self.rows)):
            whole[slot, ..., columns_of(self.rows)] = own[row]
        return whole

    def own(self, output):
        return output[slots_of(self.rows)][..., columns_of(self.rows)]

    def trained(self, *shape):
        return drawn(len(slots_of(self.rows)), *shape, seed=5).requires_grad_()


def assert_alike(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@everywhere
def test_slots_are_taken_apart_into_neighbors(place):
    expected = {
        "one": [(2, 3)], "neighbors": [(1, 4)], "scattered": [(0, 1), (2, 4)], "all": [(0, 5)], "part": [(1, 3)],
        "scattered part": [(0, 1), (4, 5)],
    }  # fmt: skip
    assert [(slots.start, slots.stop) for slots in PLACES[place].neighbors] == expected[place]


@everywhere
@pytest.mark.parametrize("broadcast", [False, True])
def test_adding_to_rows_in_place_is_adding_to_a_copy(place, broadcast):
    site = Site(place)
    change = site.trained(1, 1, H) if broadcast else site.trained(B, T, H)
    plain = site.map(site.states)
    theirs = site.gradients(site.plainly(plain, site.own(plain) + change), change)
    output = site.map(site.states)
    memory = output.data_ptr()
    ours = add(output, change, site.rows)
    assert ours.data_ptr() == memory
    assert_alike(site.gradients(ours, change), theirs)


@everywhere
def test_adding_a_product_in_place_is_adding_it_to_a_copy(place):
    site = Site(place)
    low, up = site.trained(B, T, 2), site.trained(H, 2)
    plain = site.map(site.states)
    theirs = site.gradients(site.plainly(plain, site.own(plain) + torch.einsum("nbtr,nhr->nbth", low, up)), low, up)
    assert_alike(site.gradients(add_product(site.map(site.states), low, up, site.rows), low, up), theirs)


@everywhere
@pytest.mark.parametrize("fresh", [False, True])
def test_scaling_rows_is_scaling_a_copys(place, fresh):
    site = Site(place)
    factor = site.trained(1, 1, H)
    plain = site.map(site.states)
    theirs = site.gradients(site.plainly(plain, site.own(plain) * (1 + factor)), factor)
    output = site.map(site.states)
    before = output.detach().clone()
    assert_alike(site.gradients(scale(output, factor, site.rows, fresh=fresh, owned=False), factor), theirs)
    assert torch.equal(output.detach(), before) is not fresh


@everywhere
def test_what_a_map_and_a_module_read_together_gets_both_gradients(place):
    """As LoRA does: rows of the map's input, owned by it, go into a product that is added to its output."""
    site = Site("neighbors" if PLACES[place].part else place)
    down, up = site.trained(2, H), site.trained(H, 2)
    plain = site.map(site.states)
    low = torch.einsum("nbth,nrh->nbtr", site.own(site.states), down)
    theirs = site.gradients(site.plainly(plain, site.own(plain) + torch.einsum("nbtr,nhr->nbth", low, up)), down, up)
    whole, own = fork(site.states, site.rows, copied=False, owned=True)
    low = torch.einsum("nbth,nrh->nbtr", own, down)
    assert_alike(site.gradients(add_product(site.map(whole), low, up, site.rows), down, up), theirs)


@everywhere
def test_modules_that_read_and_write_one_residual_sum_in_turn_get_the_gradients_of_copies(place):
    """As adapters before a norm do: two modules fork the sum below it, each adds to it, and the skip connection has it as well."""
    rows = "neighbors" if PLACES[place].part else place
    site, other = Site(rows, norm=True), Site("scattered", norm=True)
    ups = site.trained(H, H), other.trained(H, H)

    def computed(module, states, up, in_place):
        if not in_place:
            own = module.own(states)
            return module.plainly(states, own + own @ up.transpose(1, 2)[:, None])
        whole, own = fork(states, module.rows, copied=True, owned=True)
        return add_product(whole, own, up, module.rows)

    found = []
    for in_place in (False, True):
        total = site.states + 0.5 * site.states.tanh()
        for module, up in zip((site, other), ups, strict=True):
            total = computed(module, total, up, in_place)
        found.append(site.gradients(site.map(total) + site.states, *ups))
    assert_alike(found[1], found[0])


def test_a_gradient_that_a_residual_sum_hands_to_both_sides_is_not_changed_for_the_other():
    site = Site("neighbors")
    weight = site.trained(H, H)
    output = site.map(site.states)
    theirs = site.gradients(site.plainly(output, site.own(output) + site.own(output) @ weight[:, None]) + site.states, weight)
    whole, own = fork(site.map(site.states), site.rows, copied=True, owned=False)
    assert_alike(site.gradients(add(whole, own @ weight[:, None], site.rows) + site.states, weight), theirs)


def test_changing_in_place_what_an_operation_has_kept_is_an_error_and_no_wrong_gradient():
    site = Site("one")
    kept = relu(site.states)
    changed = add(kept, site.trained(B, T, H), site.rows)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        changed.sum().backward()


def test_a_small_scale_of_bf16_states_is_not_rounded_away():
    """The factor 1 + 0.003 itself would be 1 in bf16."""
    states = torch.full((1, 1, 1, 1), 1.9921875, dtype=torch.bfloat16)  # the largest below 2, in steps of 0.0078125
    grown = scale(states, torch.tensor([[[[0.003]]]]), Rows.at([0]), fresh=True, owned=False)
    assert grown.item() == 2.0  # 1.9921875 * 1.003 = 1.99816, nearer to 2 than to 1.9921875


def test_states_that_need_no_gradient_are_forked_without_one_and_a_change_makes_them_need_one():
    site = Site("neighbors")
    states, change = site.states.detach(), site.trained(B, T, H)
    whole, own = fork(states, site.rows, copied=False, owned=True)
    assert whole is states
    assert not own.requires_grad
    (gradient,) = torch.autograd.grad(add(site.map(whole), change, site.rows).sum(), [change])
    assert torch.equal(gradient, torch.ones_like(change))


def test_without_gradients_nothing_is_copied():
    states = drawn(N, B, T, H)
    with torch.no_grad():
        _, own = fork(states, PLACES["neighbors"], copied=True, owned=True)
    assert own.data_ptr() == states[1].data_ptr()
