from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.training.backbone_pass import MISSING, Activations, distinct_frames, join


@st.composite
def patients(draw, views: int = 4):
    """Images (F, 2, 3) of a patient's present views with repeats within and between them, and the mask."""
    frames = draw(st.integers(1, 5))
    present = torch.tensor(draw(st.lists(st.booleans(), min_size=views, max_size=views)))
    present[draw(st.integers(0, views - 1))] = True
    count = int(present.sum()) * frames
    kinds = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    return torch.tensor(kinds).float().view(-1, 1, 1).expand(-1, 2, 3), present


@given(patients())
def test_every_frame_is_found_and_none_is_kept_twice(patient):
    images, present = patient
    kept, frame_of = distinct_frames(images, present)
    assert len(kept) == len({float(image[0, 0]) for image in images})
    assert torch.equal(images[kept][frame_of[present].flatten()], images)
    assert (frame_of[~present] == MISSING).all()
    assert frame_of.shape == (4, len(images) // int(present.sum()))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.data())
def test_a_batch_selects_what_its_patients_select(sizes, data):
    parts, values = [], 0.0
    for size in sizes:
        frame_of = torch.tensor(data.draw(st.lists(st.integers(-1, size - 1), min_size=6, max_size=6)))
        rows = torch.arange(size).float().view(-1, 1) + values
        parts.append(Activations(rows, frame_of.view(2, 3)))
        values += 100
    whole = join(parts)
    shown = torch.stack([(part.frame_of != MISSING).all(1) for part in parts])
    rows, place = whole.select(shown)
    expected = [part.rows[part.frame_of[mask].flatten()] for part, mask in zip(parts, shown, strict=True)]
    assert torch.equal(rows[place], torch.cat(expected))
    assert len(rows) <= len(whole.rows)


def test_what_is_not_shown_is_not_selected():
    activations = Activations(torch.arange(6.0).view(6, 1), torch.tensor([[0, 1, 1], [2, 3, 4]]))
    rows, place = activations.select(torch.tensor([True, False]))
    assert rows.flatten().tolist() == [0, 1]
    assert place.tolist() == [0, 1, 1]
