"""The answer for one picture as HTML: the verdict, how sure it is, what it is based on, and the technical facts."""

from __future__ import annotations

from dataclasses import dataclass

from fakedet.detector import Detector
from fakedet.network import kinds
from fakedet.verdict import Failure, Verdict

from . import provenance_panel
from .render import render

NAMES = {"fake": "AI-generated", "real": "Photograph", "unsure": "Unsure", "error": "Not checked"}
EXPLANATIONS = {
    "fake": "The pixels look more like the output of an image generator than like a camera's.",
    "real": "The pixels look like a camera's. That speaks against an image generator; it does not prove that the "
    "scene is true or that nothing was retouched.",
    "unsure": "The evidence points both ways. Treat this as no answer, and look for the picture's source.",
}
CAVEAT = "A clue, not a proof. It judges pixels, not whether the scene is true: see “What it cannot tell” below."
UNSTABLE = (
    "A compressed or smaller copy of this picture would get the other answer. Treat this as no answer, and look for "
    "the original file."
)
MAX_BASIS_SENTENCES = 2  # of the file's evidence; the panel below the card shows all
MIN_JUDGED_PIXELS = 4096  # a smaller file is mostly headers, so that its bits per pixel say nothing
LOW_BITS_PER_PIXEL = 0.6
# Width and height of common screens in pixels; either orientation counts.
SCREENS = frozenset(
    tuple(map(int, size.split("x")))
    for size in "1280x720 1280x800 1366x768 1440x900 1536x864 1600x900 1680x1050 1920x1080 1920x1200 2560x1440 "
    "2560x1600 2880x1800 3024x1964 3440x1440 3456x2234 3840x2160 1334x750 1792x828 2208x1242 2340x1080 2400x1080 "
    "2436x1125 2532x1170 2556x1179 2622x1206 2688x1242 2778x1284 2796x1290 2868x1320 3088x1440 3120x1440 3200x1440 "
    "2048x1536 2160x1620 2224x1668 2360x1640 2388x1668 2732x2048".split()
)


@dataclass(frozen=True)
class Bar:
    """One confidence bar.

    Attributes:
        kind: "real" or "fake".
        name: Of the answer.
        percent: Whole percent, 0..100.
        mark: Percent that the bar must reach for an answer.
    """

    kind: str
    name: str
    percent: int
    mark: float


def confidence_percent(verdict: Verdict) -> int:
    """Whole percent for the pixels' answer, as in `Verdict.headline`: at most 99, and for "unsure" that of "fake"."""
    if verdict.pixel_verdict == "unsure":
        return round(100 * verdict.p_fake)
    share = verdict.p_fake if verdict.pixel_verdict == "fake" else 1 - verdict.p_fake
    return min(99, int(100 * share))


def class_percents(verdict: Verdict) -> dict[str, int]:
    """Whole percents for both classes, the same as in the headline; they add up to 100."""
    share = confidence_percent(verdict)
    fake = 100 - share if verdict.pixel_verdict == "real" else share
    return {"real": 100 - fake, "fake": fake}


def is_unstable(verdict: Verdict) -> bool:
    """Whether a compressed or smaller copy got the other answer."""
    return bool(verdict.stability) and not verdict.stability["stable"]


def is_no_photo(verdict: Verdict) -> bool:
    """Whether the picture looks like a graphic or a drawing, for which the pixels give no answer."""
    return verdict.kind in kinds.NOTES


def bars(verdict: Verdict) -> dict | None:
    """Title, rows and caption of the two confidence bars; None where the score means nothing."""
    if is_no_photo(verdict):
        return None
    low, high = verdict.unsure_band
    marks = {"real": 100 * (1 - low), "fake": 100 * high}
    needs = f"An answer needs {marks['fake']:.0f} % for AI-generated or {marks['real']:.0f} % for a photograph"
    return {
        "title": "How sure" if verdict.decided_by == "pixels" else "The pixels alone",
        "rows": [Bar(kind, NAMES[kind], share, marks[kind]) for kind, share in class_percents(verdict).items()],
        "needs": f"{needs}, and copies that agree" if is_unstable(verdict) else needs,
    }


def basis(verdict: Verdict, family_note: str = "") -> list[tuple[str, str]]:
    """What the answer is based on, as (source, one or two sentences): pixels, file, copies, generator family.

    Args:
        family_note: How often a named family was right when that was measured; "" where that is unknown.
    """
    rows = [("The pixels", pixel_sentence(verdict))]
    if verdict.origin is not None:
        provenance, _ = verdict.origin
        sentences = [item.sentence for item in provenance.evidence][:MAX_BASIS_SENTENCES]
        rows.append(("The file", " ".join(sentences) or "It does not say where it comes from. That proves nothing."))
    if verdict.stability:
        rows.append(("Its copies", copies_sentence(verdict)))
    if verdict.likeness:
        rows.append(("Its kind", f"{verdict.likeness}. {family_note}".rstrip()))
    return rows


def pixel_sentence(verdict: Verdict) -> str:
    """What the score means."""
    if is_no_photo(verdict):
        share = min(99, int(100 * (1 - verdict.p_photo)))
        return f"They are not a photograph's ({share} %), so their score means nothing and is not shown."
    if verdict.pixel_verdict != "unsure":
        kind = "AI-generated" if verdict.pixel_verdict == "fake" else "photographs"
        share = confidence_percent(verdict)
        return f"Of 100 pictures that score like this one, about {share} are {kind}, if yours is of a kind it knows."
    if verdict.stability:
        first = "like a photograph's" if verdict.stability["first_verdict"] == "real" else "AI-generated"
        return f"As the file is, they look {first}; its copies do not agree."
    percents = class_percents(verdict)
    leaning = "AI-generated" if percents["fake"] > percents["real"] else "a photograph"
    return f"They lean to {leaning} ({max(percents.values())} %), short of the mark for an answer."


def copies_sentence(verdict: Verdict) -> str:
    """Whether degraded copies get the same answer; if not, the verdict's notes hold their scores."""
    if is_unstable(verdict):
        return "They get another answer than the file itself: see below."
    names = ", ".join(copy["copy"] for copy in verdict.stability["copies"])
    return f"No degraded copy ({names}) gets another answer."


def hints(verdict: Verdict) -> list[str]:
    """What a reader should know of this picture: the verdict's own notes, and what its size and format suggest."""
    facts, sentences = verdict.image, list(verdict.notes)
    size, pixels = (facts["width"], facts["height"]), facts["width"] * facts["height"]
    judged = facts["format"] in ("JPEG", "WEBP") and facts["bytes"] and pixels > MIN_JUDGED_PIXELS
    if judged and 8 * facts["bytes"] / pixels < LOW_BITS_PER_PIXEL:
        sentences.append("The file is heavily compressed, which removes fine traces: an original would tell more.")
    if facts["format"] == "PNG" and (size in SCREENS or size[::-1] in SCREENS):
        sentences.append(
            "It has the size of a screen. A screenshot also records the screen: use the original if you can."
        )
    return sentences


def explanation(verdict: Verdict) -> str:
    """The sentence below the headline."""
    if verdict.decided_by != "pixels":  # a declaration in the file decided, not the score
        return verdict.provenance["sentences"][0]
    if verdict.verdict == "unsure" and is_no_photo(verdict):
        return kinds.NOTES[verdict.kind]
    if verdict.verdict == "unsure" and is_unstable(verdict):
        return UNSTABLE
    return EXPLANATIONS[verdict.verdict]


def verdict_card(verdict: Verdict, family_note: str = "") -> str:
    """The answer: headline, how sure it is, what it is based on (see `basis`), and what to know about the picture."""
    return render(
        "answer.html",
        verdict=verdict.verdict,
        file=verdict.file,
        headline=verdict.headline,
        explanation=explanation(verdict),
        bars=bars(verdict),
        basis=basis(verdict, family_note),
        notes=[note for note in hints(verdict) if note != kinds.NOTES.get(verdict.kind)],  # the explanation says it
        caveat=CAVEAT,
    )


def failure_card(failure: Failure) -> str:
    """The sentence that says why there is no answer."""
    return render("failure.html", file=failure.file, error=str(failure.error))


def provenance(verdict: Verdict) -> str:
    """What the file says about itself; every text in it is a stranger's and is shown as text."""
    if verdict.origin is None:
        return render("quiet.html", text="Nothing could be read: there is no file.")
    provenance, joined = verdict.origin
    # without evidence the panel is only about the file, and the headline would only repeat the pixels
    return provenance_panel.to_html(provenance, joined if provenance.evidence else None)


def details(verdict: Verdict, detector: Detector) -> str:
    """Technical facts of one answer."""
    facts, model, config = verdict.image, verdict.model, detector.config
    low, high = verdict.unsure_band
    tiny = config.is_tiny((facts["width"], facts["height"]))
    calibration, side = config.calibration(tiny), (tiny and config.tiny_input_size) or config.input_size
    rows = [
        ("Probability of AI-generated", f"{verdict.p_fake:.4f}"),
        ("Raw score (logit)", f"{verdict.logit:+.4f}"),
        ("Calibration", f"temperature {calibration.temperature:.4g}, bias {calibration.bias:.4g}"),
        ("Threshold", f"{verdict.threshold:g}"),
        ("Answered as unsure", f"between {low:.2f} and {high:.2f}" if high > low else "never (no band is set)"),
        ("Views scored", f"{verdict.views}, {side} x {side} pixels each"),
        ("Time", ", ".join(f"{name} {value:.0f} ms" for name, value in verdict.ms.items())),
        ("Model", f"{model['id']}, revision {model['revision'] or 'none'}, {model['runtime']}"),
        ("Weights (SHA-256)", model["sha256"]),
        ("Picture", f"{facts['width']} x {facts['height']} pixels, {facts['format']}, stored as {facts['mode']}"),
        ("File", f"{facts['bytes']:,} bytes, SHA-256 {facts['sha256']}" if facts["bytes"] else "none"),
    ]
    return render("facts.html", rows=rows)
