"""One picture's answer as HTML for people: the verdict in words, how sure, what it rests on, and the facts.

Everything that a stranger wrote (file names, metadata) goes through `escape` before it becomes HTML.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from fakedet.detector import Detector
from fakedet.stability import unstable_note
from fakedet.verdict import Failure, Verdict

NAMES = {"fake": "AI-generated", "real": "Photograph", "unsure": "Unsure", "error": "Not checked"}
EXPLAIN = {
    "fake": "The pixels look more like the work of an image generator than like a camera's.",
    "real": "The pixels look like a camera's. That speaks against an image generator; it does not prove that the "
    "scene is true or that nothing was retouched.",
    "unsure": "The signs point both ways. Take this as no answer, and look for where the picture comes from.",
}
CAVEAT = "A clue, not a proof. It judges pixels, not whether the scene is true: see “What it cannot tell” below."
UNSTABLE = (
    "A copy of this picture would be answered the other way. Take this as no answer, and look for the original file."
)
# Drawn here, in a box of 24 by 24, so that nothing is fetched: a lens, a spark, a question mark, an exclamation mark.
_ICONS = {
    "real": '<circle cx="12" cy="12" r="8.5"/><circle cx="12" cy="12" r="3.2"/>',
    "fake": '<path d="M11 3.5 13 9l5.5 2-5.5 2-2 5.5L9 13l-5.5-2L9 9ZM18.5 15.5l.9 2.1 2.1.9-2.1.9-.9 2.1"/>',
    "unsure": '<path d="M8.2 8.6a3.9 3.9 0 1 1 5.7 3.4c-1.3.7-1.9 1.4-1.9 2.8M12 18.6v.1"/>',
    "error": '<path d="M12 5v8.5M12 18.2v.1"/>',
}
# Width and height of common screens in pixels; either orientation counts.
SCREENS = frozenset(
    (int(a), int(b))
    for a, b in (
        size.split("x")
        for size in "1280x720 1280x800 1366x768 1440x900 1536x864 1600x900 1680x1050 1920x1080 1920x1200 2560x1440 "
        "2560x1600 2880x1800 3024x1964 3440x1440 3456x2234 3840x2160 1334x750 1792x828 2208x1242 2340x1080 2400x1080 "
        "2436x1125 2532x1170 2556x1179 2622x1206 2688x1242 2778x1284 2796x1290 2868x1320 3088x1440 3120x1440 3200x1440 "
        "2048x1536 2160x1620 2224x1668 2360x1640 2388x1668 2732x2048".split()
    )
)


def percent(verdict: Verdict) -> int:
    """Whole percent for the pixels' answer, as in `Verdict.headline`: at most 99, and for "unsure" that of "fake"."""
    if verdict.pixel_verdict == "unsure":
        return round(100 * verdict.p_fake)
    sure = verdict.p_fake if verdict.pixel_verdict == "fake" else 1 - verdict.p_fake
    return min(99, int(100 * sure))


def shares(verdict: Verdict) -> dict[str, int]:
    """Whole percents for both answers, the same as in the headline; they add up to 100."""
    share = percent(verdict)
    fake = 100 - share if verdict.pixel_verdict == "real" else share
    return {"real": 100 - fake, "fake": fake}


def bars(verdict: Verdict) -> str:
    """Two confidence bars, each with the mark that it must reach for an answer."""
    low, high = verdict.unsure_band
    marks = {"real": 100 * (1 - low), "fake": 100 * high}
    lines = "".join(
        f'<div class="fd-bar fd-{kind}"><span>{NAMES[kind]}</span><div class="fd-track" aria-hidden="true">'
        f'<i style="width:{share}%"></i><u style="left:{marks[kind]:.1f}%"></u></div><span>{share} %</span></div>'
        for kind, share in shares(verdict).items()
    )
    title = "How sure" if verdict.decided_by == "pixels" else "What the pixels alone say"
    needs = f"An answer needs {marks['fake']:.0f} % for AI-generated or {marks['real']:.0f} % for a photograph"
    if verdict.stability and not verdict.stability["stable"]:
        needs += ", and copies that agree"
    return f'<div id="bars"><h3>{title}</h3>{lines}<p class="fd-small">{needs} (the marks on the bars).</p></div>'


def basis(verdict: Verdict, family_note: str = "") -> list[tuple[str, str]]:
    """What the answer rests on, as (what, a sentence or two): the pixels, the file, its copies, its kind.

    Args:
        family_note: How often a named family was right when that was measured; "" where nobody knows.
    """
    share, p = percent(verdict), shares(verdict)
    lean = "AI-generated" if p["fake"] > p["real"] else "a photograph"
    pixels = f"They lean to {lean} ({max(p.values())} %), short of the mark for an answer."
    if verdict.pixel_verdict != "unsure":
        kind = "AI-generated" if verdict.pixel_verdict == "fake" else "photographs"
        pixels = f"Of 100 pictures that score like this one, about {share} are {kind}, if yours is of a kind it knows."
    elif verdict.stability:
        first = "like a photograph's" if verdict.stability["first_verdict"] == "real" else "AI-generated"
        pixels = f"As the file is, they look {first}; its copies do not agree."
    rows = [("The pixels", pixels)]
    if verdict.origin is not None:
        found = [item.sentence for item in verdict.origin[0].evidence][:2]
        rows.append(("The file", " ".join(found) or "It says nothing of where it comes from. That proves nothing."))
    if verdict.stability:
        copies = " and ".join(copy["copy"] for copy in verdict.stability["copies"])
        same = f"Asked again about worn copies of it ({copies}): the same answer."
        rows.append(("Its copies", same if verdict.stability["stable"] else turned(verdict)))
    if verdict.likeness:
        rows.append(("Its kind", f"{verdict.likeness}. {family_note}".rstrip()))
    return rows


def turned(verdict: Verdict) -> str:
    """What each copy would be answered."""
    copies = verdict.stability["copies"]
    said = "; ".join(f"{copy['copy']}: {copy['p_fake']:.0%} AI-generated" for copy in copies).replace("%", " %")
    return f"They get another answer than the file itself ({said})."


def hints(verdict: Verdict) -> list[str]:
    """What a reader should know of this picture: the verdict's own notes, and what its size and format suggest."""
    facts, found = verdict.image, list(verdict.notes)
    size, pixels = (facts["width"], facts["height"]), facts["width"] * facts["height"]
    if facts["format"] in ("JPEG", "WEBP") and facts["bytes"] and pixels > 4096 and 8 * facts["bytes"] / pixels < 0.6:
        found.append("The file is heavily compressed, which wipes out fine traces: an original would tell more.")
    if facts["format"] == "PNG" and (size in SCREENS or size[::-1] in SCREENS):
        found.append("Its size is that of a screen. A screenshot tells of the screen too: use the original if you can.")
    return found


def verdict_card(verdict: Verdict, family_note: str = "") -> str:
    """The answer: in words, how sure, what it rests on (see `basis`), and what to know about the picture."""
    unstable = bool(verdict.stability) and not verdict.stability["stable"]
    why = EXPLAIN[verdict.verdict]
    if verdict.decided_by != "pixels":  # the file's own declaration, not the score, gave the answer
        why = verdict.provenance["sentences"][0]
    elif verdict.verdict == "unsure" and unstable:
        why = UNSTABLE
    rows = "".join(f"<dt>{what}</dt><dd>{escape(said)}</dd>" for what, said in basis(verdict, family_note))
    told = unstable_note(verdict.stability, verdict.threshold) if unstable else None  # said in `basis`
    known = [note for note in hints(verdict) if note != told]
    notes = "".join(f"<li>{escape(note)}</li>" for note in known)
    return (
        f'<div class="fd-card fd-{verdict.verdict}" role="status"><p class="fd-small">Answer{_for(verdict.file)}</p>'
        f"<h2>{_icon(verdict.verdict)}{escape(verdict.headline)}</h2><p>{escape(why)}</p>"
        + bars(verdict)
        + f'<h3>What this rests on</h3><dl class="fd-why">{rows}</dl>'
        + (f'<h3>To know about this picture</h3><ul class="fd-notes">{notes}</ul>' if notes else "")
        + f'<p class="fd-small fd-caveat">{CAVEAT}</p>'
        + "</div>"
    )


def _icon(kind: str) -> str:
    return f'<svg viewBox="0 0 24 24" aria-hidden="true">{_ICONS[kind]}</svg>'


def provenance(verdict: Verdict) -> str:
    """What the file says about itself; every text in it is a stranger's and is shown as text."""
    if verdict.origin is None:
        return "<p>Nothing could be read: there is no file.</p>"
    found, joined = verdict.origin
    return found.to_html(joined if found.evidence else None)  # nothing is said of it: then neither of the pixels


def error_card(failure: Failure) -> str:
    """The one sentence that says why there is no answer."""
    return (
        f'<div class="fd-card fd-error" role="alert"><p class="fd-small">No answer{_for(failure.file)}</p>'
        f"<h2>{_icon('error')}This file cannot be checked</h2><p>{escape(str(failure.error))}</p></div>"
    )


def _for(name: str | None) -> str:
    return f" for {escape(name)}" if name else ""


def table(rows: Iterable[tuple[str, Any]]) -> str:
    """Two columns: what, and its value."""
    row = '<tr><th scope="row">{}</th><td>{}</td></tr>'
    cells = "".join(row.format(escape(name), escape(str(value))) for name, value in rows)
    return f'<table class="fd-table"><tbody>{cells}</tbody></table>'


def details(verdict: Verdict, detector: Detector) -> str:
    """Technical facts of one answer."""
    facts, model, ms, config = verdict.image, verdict.model, verdict.ms, detector.config
    low, high = verdict.unsure_band
    tiny = min(facts["width"], facts["height"]) < config.tiny_side
    temperature, bias, _ = config.calibration(tiny)
    return table(
        [
            ("Probability of AI-generated", f"{verdict.p_fake:.4f}"),
            ("Raw score (logit)", f"{verdict.logit:+.4f}"),
            ("Calibration", f"temperature {temperature:.4g}, bias {bias:.4g}"),
            ("Threshold", f"{verdict.threshold:g}"),
            ("Answered as unsure", f"between {low:.2f} and {high:.2f}" if high > low else "never (no band is set)"),
            ("Views scored", f"{verdict.views}, {config.input_size} x {config.input_size} pixels each"),
            ("Time", ", ".join(f"{name} {value:.0f} ms" for name, value in ms.items())),
            ("Model", f"{model['id']}, revision {model['revision'] or 'none'}, {model['runtime']}"),
            ("Weights (SHA-256)", model["sha256"]),
            ("Picture", f"{facts['width']} x {facts['height']} pixels, {facts['format']}, stored as {facts['mode']}"),
            ("File", f"{facts['bytes']:,} bytes, SHA-256 {facts['sha256']}" if facts["bytes"] else "none"),
        ]
    )
