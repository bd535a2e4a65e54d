"""Probes: what can be read off a codec's latents, and so whether its auxiliary objective is real.

A semantic objective must make a teacher's features predictable from the quantised latents; a
disentangling one must make the speaker hard to tell from the content, and easy from the global
code.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cfbench.errors import CfbenchError, name_some

Floats = NDArray[np.float64]

# Of the standardised features' variance: enough that equal columns can be solved for, too little
# to matter where a probe has more frames than columns.
_RIDGE = 1e-3


def teacher_probe(
    codes_train: Sequence[NDArray[Any]],
    teacher_train: Sequence[NDArray[Any]],
    codes_test: Sequence[NDArray[Any]],
    teacher_test: Sequence[NDArray[Any]],
    context: int,
) -> float:
    """How well a linear map predicts a teacher's features from quantised latents.

    Ridge regression on standardised latents with a penalty of 0.001 a frame. A frame is predicted
    from itself and its neighbours; beyond the ends of an utterance its first or last frame is
    repeated.

    Args:
        codes_train: (frames, d) for each utterance.
        teacher_train: (frames, p) for each utterance, at the frame rate of the latents.
        codes_test: As `codes_train`, of other utterances.
        teacher_test: As `teacher_train`.
        context: Neighbours on either side.

    Returns:
        R², the share of the variance in the test utterances that is explained, averaged over the p
        dimensions; 1 is all of it, and what predicts worse than the test's mean is below 0.
        Dimensions that are constant in the test are left out.

    Raises:
        CfbenchError: Utterances, frames or dimensions of latents and teacher do not fit each other,
            there are none, or the teacher is constant in the test.
    """
    if context < 0:
        raise CfbenchError(f"a context of {context} frames: it must be 0 or more")
    inputs, targets = _paired(codes_train, teacher_train, context, "training")
    test_inputs, test_targets = _paired(codes_test, teacher_test, context, "test")
    if inputs.shape[1] != test_inputs.shape[1] or targets.shape[1] != test_targets.shape[1]:
        raise CfbenchError("latents or features with other dimensions in training than in the test")
    varies = np.ptp(test_targets, axis=0) > 0
    if not varies.any():
        raise CfbenchError("a teacher that is constant in the test", "give more test utterances")

    inputs, test_inputs = _standardised(inputs, test_inputs)
    mean = targets.mean(axis=0)
    square = inputs.T @ inputs
    square[np.diag_indices_from(square)] += _RIDGE * len(inputs)
    weights = np.linalg.solve(square, inputs.T @ (targets - mean))
    errors = np.square(test_targets - mean - test_inputs @ weights).sum(axis=0)
    total = np.square(test_targets - test_targets.mean(axis=0)).sum(axis=0)
    return float((1 - errors[varies] / total[varies]).mean())


def speaker_probe(
    vectors_train: NDArray[Any],
    speakers_train: Sequence[str],
    vectors_test: NDArray[Any],
    speakers_test: Sequence[str],
) -> float:
    """How often a linear map tells the speaker from one vector an utterance; needs scikit-learn.

    Multinomial logistic regression on standardised vectors, L2 penalty with C = 1.

    Args:
        vectors_train: (utterances, d), such as mean and deviation of the latents, or global codes.
        speakers_train: Who speaks; two speakers at least.
        vectors_test: (utterances, d), of other utterances.
        speakers_test: Who speaks; all of them were in training.

    Returns:
        The accuracy on the test, 0 to 1. Chance is the share of the commonest speaker.

    Raises:
        CfbenchError: scikit-learn is not installed; vectors and speakers do not fit each other, or
            the speakers are fewer than two, or new in the test.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits  # scikit-learn depends on it
    except ModuleNotFoundError:
        hint = "pip install 'cfbench[baseline]'"
        raise CfbenchError("the speaker probe needs scikit-learn", hint) from None
    for vectors, speakers in ((vectors_train, speakers_train), (vectors_test, speakers_test)):
        if vectors.ndim != 2 or not len(vectors) or len(vectors) != len(speakers):
            raise CfbenchError(
                f"vectors of shape {vectors.shape} for {len(speakers)} utterances",
                "give one vector for each utterance, and one utterance at least",
            )
    if vectors_train.shape[1] != vectors_test.shape[1]:
        raise CfbenchError("vectors with other dimensions in training than in the test")
    known = set(speakers_train)
    if len(known) < 2:
        raise CfbenchError("all utterances of the training are of one speaker", "give two or more")
    if new := sorted(set(speakers_test) - known):
        raise CfbenchError(f"speakers of the test that were not in training: {name_some(new)}")

    inputs, test_inputs = _standardised(
        vectors_train.astype(np.float64), vectors_test.astype(np.float64)
    )
    model = LogisticRegression(C=1.0, max_iter=2000)
    # Sums over threads would differ in the last digits from one machine to the next.
    with threadpool_limits(limits=1):
        model.fit(inputs, list(speakers_train))
        answers = model.predict(test_inputs)
    return float(np.mean(answers == np.array(speakers_test)))


def _paired(
    codes: Sequence[NDArray[Any]], teacher: Sequence[NDArray[Any]], context: int, what: str
) -> tuple[Floats, Floats]:
    """(frames, (2 * context + 1) * d) and (frames, p) of all utterances."""
    shapes = [(a.shape, b.shape) for a, b in zip(codes, teacher, strict=False)]
    if (
        not shapes
        or len(codes) != len(teacher)
        or any(len(a) != 2 or len(b) != 2 or a[0] != b[0] or not a[0] for a, b in shapes)
        or len({(a[1], b[1]) for a, b in shapes}) != 1
    ):
        raise CfbenchError(
            f"{what}: latents and the teacher's features do not fit each other",
            "give (frames, d) and (frames, p) for each utterance, with as many frames",
        )
    inputs = []
    for latents in codes:
        padded = np.pad(latents.astype(np.float64), ((context, context), (0, 0)), mode="edge")
        shifted = [padded[k : k + len(latents)] for k in range(2 * context + 1)]
        inputs.append(np.hstack(shifted))
    return np.vstack(inputs), np.vstack(list(teacher)).astype(np.float64)


def _standardised(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Both with the mean and deviation of the training; what is constant there becomes 0."""
    mean, scale = train.mean(axis=0), train.std(axis=0)
    constant = scale <= 1e-9 * np.abs(train).max(axis=0)  # rounding of the mean leaves a little
    factor = np.where(constant, 0.0, 1 / np.where(constant, 1.0, scale))
    return (train - mean) * factor, (test - mean) * factor
