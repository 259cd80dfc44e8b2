"""The winner as MLflow loads and serves it (models from code): this file is copied into the model and run where that is loaded.

Only `pelt_automl` and its requirements are needed there, and the pretrained model that the winner was trained on (a bag of words has
none): it isn't part of the model. ``model_config={"model": "/path"}`` or the variable ``PELT_AUTOML_MODEL`` says where it is when its
folder has moved. ``model_config={"abstain_below": 0.8}``, or the variable ``PELT_AUTOML_ABSTAIN_BELOW``, leaves predictions open where no
class has such a probability.
"""

import os
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

PREDICTION = "prediction"
MODEL, VARIABLE = "model", "PELT_AUTOML_MODEL"
"""Where the pretrained model is now, in the model's configuration and in the environment."""
ABSTAIN, ABSTAIN_VARIABLE = "abstain_below", "PELT_AUTOML_ABSTAIN_BELOW"
"""The probability below which there is no prediction, in both."""


class Winner(PythonModel):
    """Class names, lists of them for several labels, or numbers for regression, in a column ``prediction``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights on their pretrained model.

        Raises `BackboneError` when that can't be had or is another one, and `SettingsError` where `abstain_below` doesn't fit.
        """
        import pelt_automl
        from pelt_automl.errors import BackboneError, SettingsError
        from pelt_automl.training.predicting import check_abstaining

        config = context.model_config or {}
        model, below = config.get(MODEL) or os.environ.get(VARIABLE), config.get(ABSTAIN, "")
        below = os.environ.get(ABSTAIN_VARIABLE, "") if below in ("", None) else below
        try:
            self._predictor = pelt_automl.load(context.artifacts["winner"], model=model)
        except BackboneError as error:
            raise BackboneError(
                f"{error}. With MLflow: load_model(..., model_config={{'{MODEL}': FOLDER}}), or {VARIABLE}=FOLDER"
            ) from error
        try:
            self._abstain_below = None if below == "" else float(below)
        except (TypeError, ValueError):
            raise SettingsError(f"{ABSTAIN} is {below!r}, but it is a probability: give a number, such as 0.8") from None
        check_abstaining(self._predictor.config, self._abstain_below)

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002  # MLflow's names
        """One prediction for each row, none where a text is missing or no class is probable enough.

        `model_input` has the text columns by their names in training.
        """
        rows = model_input[list(self._predictor.config.text_columns)]
        missing = rows.isna().any(axis=1)
        texts = [
            None if gone else tuple(str(text) for text in row) for row, gone in zip(rows.itertuples(index=False), missing, strict=True)
        ]
        return pd.DataFrame({PREDICTION: self._predictor.predict(texts, self._abstain_below)}, index=model_input.index)


set_model(Winner())
