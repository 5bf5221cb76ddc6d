"""Placements of MIG instances, held against a model that knows nothing of `nodes.mig` but the tables."""

import itertools

import pytest

from nodes.mig import Profile, best_starts, free_count, memory_slices, profile_named, profiles_for, starts_that_fit

A100_40 = ("NVIDIA A100-PCIE-40GB", 40_960)
A30 = ("NVIDIA A30", 24_576)

NAMES = {
    A100_40: "1g.5gb 1g.10gb 2g.10gb 3g.20gb 4g.20gb 7g.40gb",
    ("NVIDIA A100-SXM4-40GB", 40_536): "1g.5gb 1g.10gb 2g.10gb 3g.20gb 4g.20gb 7g.40gb",
    ("NVIDIA A100-SXM4-80GB", 81_920): "1g.10gb 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb",
    ("NVIDIA A100 80GB PCIe", 81_251): "1g.10gb 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb",
    ("NVIDIA H100 80GB HBM3", 81_559): "1g.10gb 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb",
    ("NVIDIA H100 NVL", 95_830): "1g.12gb 1g.24gb 2g.24gb 3g.47gb 4g.47gb 7g.94gb",
    ("NVIDIA H100 96GB HBM3", 97_871): "1g.12gb 1g.24gb 2g.24gb 3g.48gb 4g.48gb 7g.96gb",
    ("NVIDIA GH200 480GB", 97_871): "1g.12gb 1g.24gb 2g.24gb 3g.48gb 4g.48gb 7g.96gb",
    ("NVIDIA H200", 143_771): "1g.18gb 1g.35gb 2g.35gb 3g.71gb 4g.71gb 7g.141gb",
    ("NVIDIA B200", 183_359): "1g.23gb 1g.45gb 2g.45gb 3g.90gb 4g.90gb 7g.180gb",
    A30: "1g.6gb 2g.12gb 4g.24gb",
    ("nvidia a30", 24_125): "1g.6gb 2g.12gb 4g.24gb",
}


@pytest.mark.parametrize(("board", "names"), NAMES.items(), ids=lambda value: str(value))
def test_it_names_profiles_by_model_and_memory(board, names):
    assert [profile.name for profile in profiles_for(*board)] == names.split()


@pytest.mark.parametrize(
    "board",
    [("NVIDIA L40S", 46_068), ("NVIDIA A10", 24_576), ("NVIDIA A300", 24_576), ("Tesla V100", 32_768),
     ("NVIDIA A100", 16_384), ("XA100", 40_960), ("", 40_960)],
)  # fmt: skip
def test_it_offers_nothing_on_other_boards(board):
    assert profiles_for(*board) == []
    assert memory_slices(*board) == 1


def test_it_cuts_memory_into_eight_or_four():
    assert memory_slices(*A100_40) == 8
    assert memory_slices(*A30) == 4


def test_it_has_the_published_placements():
    seven = {profile.name: (profile.compute, profile.slices, profile.starts) for profile in profiles_for(*A100_40)}
    assert seven == {
        "1g.5gb": (1, 1, (0, 1, 2, 3, 4, 5, 6)),
        "1g.10gb": (1, 2, (0, 2, 4, 6)),
        "2g.10gb": (2, 2, (0, 2, 4)),
        "3g.20gb": (3, 4, (0, 4)),
        "4g.20gb": (4, 4, (0,)),
        "7g.40gb": (7, 8, (0,)),
    }
    four = {profile.name: (profile.compute, profile.slices, profile.starts) for profile in profiles_for(*A30)}
    assert four == {"1g.6gb": (1, 1, (0, 1, 2, 3)), "2g.12gb": (2, 2, (0, 2)), "4g.24gb": (4, 4, (0,))}


def fits_by_hand(profile: Profile, taken: set[int]) -> list[int]:
    return [start for start in profile.starts if not set(range(start, start + profile.slices)) & taken]


@pytest.mark.parametrize("board", [A100_40, A30], ids=lambda board: board[0])
def test_it_counts_what_fits_for_every_set_of_taken_slices(board):
    slices = range(memory_slices(*board))
    for size in range(len(slices) + 1):
        for chosen in itertools.combinations(slices, size):
            taken = set(chosen)
            for profile in profiles_for(*board):
                fits = fits_by_hand(profile, taken)
                assert starts_that_fit(profile, taken) == fits
                most = max(
                    number
                    for number in range(len(fits) + 1)
                    for starts in itertools.combinations(fits, number)
                    if len(set().union(*(profile.span(start) for start in starts))) == number * profile.slices
                )
                assert free_count(profile, taken) == most


@pytest.mark.parametrize("board", [A100_40, A30], ids=lambda board: board[0])
def test_it_never_lets_more_compute_slices_out_than_there_are(board):
    """Memory slices alone decide, so no filling that they allow may ask for more of the processors than there is."""
    profiles = profiles_for(*board)
    whole = max(profile.compute for profile in profiles)
    seen: set[tuple[frozenset[int], int]] = set()

    def fill(taken: frozenset[int], compute: int) -> None:
        assert compute <= whole
        if (taken, compute) in seen:
            return
        seen.add((taken, compute))
        for profile in profiles:
            for start in starts_that_fit(profile, taken):
                fill(taken | set(profile.span(start)), compute + profile.compute)

    fill(frozenset(), 0)
    assert len(seen) > 10


def test_it_places_small_ones_where_they_leave_room_for_large_ones():
    profiles = profiles_for(*A100_40)
    small, half = profile_named(*A100_40, "1g.5gb"), profile_named(*A100_40, "4g.20gb")
    assert small is not None
    assert half is not None
    taken: set[int] = set()
    for _ in range(3):
        taken |= set(small.span(best_starts(small, taken, profiles)[0]))
    assert taken == {4, 5, 6}
    assert best_starts(half, taken, profiles) == [0]


def test_it_knows_all_placements_that_fit_best_first():
    profiles = profiles_for(*A100_40)
    for profile in profiles:
        assert sorted(best_starts(profile, {2}, profiles)) == starts_that_fit(profile, {2})


def test_it_finds_no_profile_of_another_board():
    assert profile_named(*A100_40, "1g.10gb") is not None
    assert profile_named(*A100_40, "7g.80gb") is None
