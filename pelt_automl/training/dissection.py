"""What the submodules of trained unions do on a set of examples: gates, contributions, and the outputs without each submodule."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pelt_automl.design_space import submodules
from pelt_automl.log.events import ContributionMeasured, Event, GateMeasured, KnockedOut
from pelt_automl.modifications import Pack
from pelt_automl.modifications.observed import Place
from pelt_automl.training.evaluation import Evaluation, evaluate
from pelt_automl.training.tokens import Tokens


@dataclass(frozen=True)
class Dissection:
    """One union taken apart."""

    whole: Evaluation
    """Everything on, with gates and contributions."""
    starts: Mapping[Place, float]
    """Mean of each gate before the training."""
    without: Mapping[str, Evaluation]
    """By submodule: everything else on."""

    def events(self, trial: str, candidate: str, seed_index: int, score: Callable[[Evaluation], float]) -> Iterator[Event]:
        """For the records, the gates first. `score`: of an evaluation of the same examples, in the metric's unit."""
        run = trial, candidate, seed_index
        for gate in self.whole.gates:
            place = gate.submodule, gate.site, gate.layer
            yield GateMeasured(*run, *place, gate.mean, gate.spread, self.starts[place])
        for share in self.whole.contributions:
            yield ContributionMeasured(*run, share.submodule, share.site, share.layer, share.mean, share.spread)
        for submodule, less in self.without.items():
            yield KnockedOut(*run, submodule, score(self.whole), score(less))


def dissect(trained: Pack, fresh: Pack, sets: Sequence[Tokens]) -> list[Dissection]:
    """The unions of a pack, each on its own set of examples; `fresh`: the same trials before their training."""
    starts = [{(gate.submodule, gate.site, gate.layer): gate.mean for gate in evaluation.gates} for evaluation in evaluate(fresh, sets)]
    whole = evaluate(trained, sets, measure=True)
    own = [submodules(trial.modifications) for trial in trained.trials]
    without = {name: evaluate(trained, sets, frozenset({name})) for name in sorted({name for names in own for name in names})}
    return [Dissection(whole[slot], starts[slot], {name: without[name][slot] for name in names}) for slot, names in enumerate(own)]
