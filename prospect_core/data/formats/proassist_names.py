"""Names of recordings, frame files and participants in ProAssist's tree and its source datasets."""

from __future__ import annotations

import re

#: datasets of the published tree, one folder each
SUBSETS = ("assembly101", "ego4d", "egoexolearn", "epickitchens", "holoassist", "wtag")
#: frames per second of the published tree
FPS = 2.0
_PARTICIPANTS = {"epickitchens": re.compile(r"^(P\d+)_"), "assembly101": re.compile(r"_(\d+)_user_id_")}


def frames_file_from_proassist_names(subset: str, video: str) -> str:
    """Return the file of a recording's frames by the published naming rules."""
    if subset == "assembly101" and "_" in video:
        video = video.split("_", 1)[1]
    if subset == "ego4d":
        video = video.removeprefix("grp-")
    return f"frames/{video}.arrow"


def participant_from_proassist_names(dataset: str, video: str) -> str:
    """Return the filmed participant from the name of a video; empty if the name does not include one.

    EPIC-KITCHENS videos are named ``P01_101`` (participant, number), those of Assembly101
    ``..._9011-a01_9011_user_id_2021-02-01_153724``. The names of Ego4D, EgoExoLearn, HoloAssist and
    WTAG do not include a participant.
    """
    name = dataset.lower()
    found = next((pattern.search(video) for key, pattern in _PARTICIPANTS.items() if key in name), None)
    return found[1] if found else ""
