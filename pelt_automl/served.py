"""The winner as MLflow loads and serves it (models from code): this file is copied into the model and run where that is loaded.

Only `pelt_automl` and its requirements are needed there, and the pretrained model that the winner was trained on: it isn't part of the
model. ``model_config={"model": "/path"}`` says where it is when its folder has moved.
"""

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

PREDICTION = "prediction"


class Winner(PythonModel):
    """Class names, or numbers for regression, in a column ``prediction``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights on their pretrained model. Raises `BackboneError` when that can't be had or is another one."""
        import pelt_automl

        self._predictor = pelt_automl.load(context.artifacts["winner"])

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002  # MLflow's names
        """One prediction for each row; `model_input` has the text columns by their names in training."""
        rows = model_input[list(self._predictor.config.text_columns)]
        if missing := [str(index) for index in rows.index[rows.isna().any(axis=1)]]:
            raise ValueError(f"no text in row {', '.join(missing[:10])}; each row needs a text in {', '.join(rows.columns)}")
        texts = [tuple(str(text) for text in row) for row in rows.itertuples(index=False)]
        return pd.DataFrame({PREDICTION: self._predictor.predict(texts)}, index=model_input.index)


set_model(Winner())
