"""Pages as HTML, for Chromium to render: articles, shops, tables, chats, terminals, code, forms, slides, feeds.

Each style takes a random generator and returns HTML; the window's size is drawn by `window`. Pictures inside a page are
data URLs from `photo`, which the caller gives: a function that returns one, or "" where there are no photographs.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from random import Random

from train.data.graphics.words import name, number, paragraph, sentence, theme, word

Photo = Callable[[], str]
PHONES = ((360, 740), (390, 844), (412, 915))
DESKTOPS = ((1280, 720), (1366, 768), (1024, 768), (1440, 900), (800, 600), (1000, 1000))


def window(style: str, rng: Random) -> tuple[int, int]:
    """Width and height of the browser window in pixels."""
    return rng.choice(PHONES if style.startswith("phone") else DESKTOPS)


def page(rng: Random, body: str, css: str = "", colours: dict | None = None) -> str:
    """A whole HTML document around a body."""
    own = colours or theme(rng)
    size = rng.randint(12, 19)
    base = (
        f"*{{box-sizing:border-box}}body{{margin:0;background:{own['back']};color:{own['text']};"
        f"font:{size}px/{rng.uniform(1.2, 1.7):.2f} '{own['font']}'}}h1,h2,h3{{color:{own['accent']}}}"
        f".soft{{background:{own['soft']}}}.accent{{background:{own['accent']};color:#fff}}"
        f".pad{{padding:{rng.randint(6, 26)}px}}.row{{display:flex;gap:{rng.randint(4, 22)}px}}"
        f"td,th{{padding:{rng.randint(3, 12)}px;border-bottom:1px solid {own['soft']};text-align:left}}"
    )
    return f"<!doctype html><meta charset=utf-8><style>{base}{css}</style><body>{body}"


def picture(photo: Photo, rng: Random, width: str = "100%", height: int = 180) -> str:
    """A photograph in the page, or a plain block where there is none."""
    address = photo() if rng.random() < 0.7 else ""
    if address:
        return f"<img src='{address}' style='width:{width};height:{height}px;object-fit:cover'>"
    return f"<div class=soft style='width:{width};height:{height}px'></div>"


def article(rng: Random, photo: Photo) -> str:
    """A news article or blog post."""
    parts = "".join(f"<h2>{sentence(rng, 3, 6)}</h2><p>{paragraph(rng, rng.randint(2, 6))}</p>" for _ in range(5))
    hero = picture(photo, rng, height=rng.randint(80, 160)) if rng.random() < 0.3 else ""
    menu = "".join(f"<span>{name(rng)}</span>" for _ in range(rng.randint(3, 7)))
    text = f"<div class=pad><h1>{sentence(rng)}</h1>{hero}{parts}</div>"
    return page(rng, f"<div class='row accent pad'>{menu}</div>{text}")


def table(rng: Random, photo: Photo) -> str:
    """A table of numbers, as in a spreadsheet or a report."""
    columns = rng.randint(3, 9)
    head = "".join(f"<th class=soft>{word(rng)}</th>" for _ in range(columns))
    rows = "".join(f"<tr>{''.join(f'<td>{number(rng)}</td>' for _ in range(columns))}</tr>" for _ in range(30))
    title = f"<h2>{sentence(rng, 2, 5)}</h2>"
    return page(rng, f"<div class=pad>{title}<table width=100%><tr>{head}</tr>{rows}</table></div>")


def terminal(rng: Random, photo: Photo) -> str:
    """A terminal with commands and their output."""
    own = theme(rng) | {"font": rng.choice(("DejaVu Sans Mono", "Liberation Mono"))}
    own |= {"back": rng.choice(("#000000", "#1e1e1e", "#300a24", "#282c34", "#fdf6e3")), "accent": own["second"]}
    own["text"] = "#333" if own["back"] == "#fdf6e3" else rng.choice(("#eee", "#33ff66", "#d4d4d4", "#ffb000"))
    lines = []
    for _ in range(60):
        host = f"<b style='color:{own['accent']}'>{word(rng)}@{word(rng)}:~$</b>"
        prompt = f"{host} {word(rng)} --{word(rng)} {number(rng)}"
        output = " ".join(f"{word(rng)}={number(rng)}" for _ in range(rng.randint(1, 6)))
        lines.append(prompt if rng.random() < 0.3 else escape(output))
    return page(rng, f"<pre style='margin:8px'>{chr(10).join(lines)}</pre>", colours=own)


def code(rng: Random, photo: Photo) -> str:
    """A code editor with a list of files."""
    own = theme(rng) | {"font": "DejaVu Sans Mono"}
    lines = []
    for at in range(1, 60):
        key = rng.choice(("def", "return", "if", "for", "const", "let", "import", "class", "while"))
        call = f"{word(rng)}(<i style='color:{own['second']}'>'{word(rng)}'</i>)"
        text = f"<b style='color:{own['accent']}'>{key}</b> {call}"
        lines.append(f"{at:3d}  {'    ' * rng.randint(0, 3)}{text if rng.random() < 0.8 else ''}")
    files = "".join(f"<div>{word(rng)}.{rng.choice(('py', 'ts', 'md'))}</div>" for _ in range(25))
    side = f"<div class='soft pad' style='width:180px'>{files}</div>"
    return page(rng, f"<div class=row>{side}<pre>{chr(10).join(lines)}</pre></div>", colours=own)


def phone_chat(rng: Random, photo: Photo) -> str:
    """Messages on a phone."""
    bubbles = []
    for _ in range(14):
        side, kind = rng.choice((("left", "soft"), ("right", "accent")))
        inner = picture(photo, rng, "160px", 110) if rng.random() < 0.06 else sentence(rng, 1, 16)
        bubbles.append(
            f"<div style='text-align:{side};margin:7px'><span class={kind} style='display:inline-block;max-width:75%;"
            f"padding:8px 12px;border-radius:{rng.choice((4, 12, 18))}px;text-align:left'>{inner}</span></div>"
        )
    bar = f"<div class='row pad soft'><b>{rng.randint(0, 23)}:{rng.randint(10, 59)}</b><span>{name(rng)}</span></div>"
    return page(rng, bar + "".join(bubbles))


def phone_feed(rng: Random, photo: Photo) -> str:
    """Posts of a social network on a phone."""
    posts = "".join(
        f"<div class=pad><b>{name(rng)}</b> <small>@{word(rng)} · {rng.randint(1, 23)} h</small>"
        f"<p>{paragraph(rng, 2)}</p><small>♡ {rng.randint(1, 999)} ⟲ {rng.randint(1, 99)}</small></div><hr>"
        for _ in range(6)
    )
    return page(rng, f"<div class='accent pad'>{name(rng)}</div>{posts}")


def phone_settings(rng: Random, photo: Photo) -> str:
    """A list of settings with switches."""
    rows = "".join(
        f"<div class='row pad' style='justify-content:space-between'><span>{sentence(rng, 1, 4)}</span>"
        f"<span class={rng.choice(('accent', 'soft'))} style='width:44px;height:24px;border-radius:12px'></span></div>"
        for _ in range(16)
    )
    return page(rng, f"<h2 class=pad>{name(rng)}</h2>{rows}")


def dashboard(rng: Random, photo: Photo) -> str:
    """Tiles with numbers and bars."""
    tiles = []
    for _ in range(9):
        bars = "".join(f"<div class='bar accent' style='height:{rng.randint(10, 90)}px'></div>" for _ in range(9))
        head = f"<small>{word(rng)}</small><h2>{number(rng)}</h2>"
        tiles.append(f"<div class='soft pad'>{head}<div class=row>{bars}</div></div>")
    css = ".bar{flex:1;align-self:flex-end}.grid{display:grid;grid-template-columns:repeat(3,1fr);gap:14px}"
    return page(rng, f"<div class='pad grid'>{''.join(tiles)}</div>", css)


def shop(rng: Random, photo: Photo) -> str:
    """A shop's list of products, with text beside small pictures."""
    items = "".join(
        f"<div class='row pad'><div style='width:90px'>{picture(photo, rng, '90px', 70)}</div>"
        f"<div><b>{name(rng)}</b><br>{sentence(rng)}<br>{number(rng)} "
        f"<span class='accent pad'>{word(rng)}</span></div></div>"
        for _ in range(8)
    )
    return page(rng, f"<div class='accent pad'>{name(rng)}</div><div>{items}</div>")


def form(rng: Random, photo: Photo) -> str:
    """A form to fill in."""
    entry = "<p><label>{}</label><br><input style='width:60%' value='{}'></p>"
    fields = "".join(entry.format(name(rng), word(rng)) for _ in range(9))
    button = f"<button class='accent pad'>{word(rng)}</button>"
    return page(rng, f"<div class=pad><h1>{sentence(rng, 2, 4)}</h1>{fields}{button}</div>")


def slide(rng: Random, photo: Photo) -> str:
    """A slide with a title and points."""
    points = "".join(f"<li>{sentence(rng, 3, 9)}</li>" for _ in range(rng.randint(2, 6)))
    css = "h1{font-size:52px}li{font-size:30px;margin:14px}"
    text = f"<div class=pad><h1>{sentence(rng, 2, 6)}</h1><ul>{points}</ul></div>"
    return page(rng, f"<div class='accent' style='height:14px'></div>{text}", css)


def slide_columns(rng: Random, photo: Photo) -> str:
    """A slide of two columns, one of them in colour."""
    points = "".join(f"<p>{sentence(rng, 4, 10)}</p>" for _ in range(4))
    title = f"<h1 style='color:#fff'>{sentence(rng, 2, 5)}</h1>"
    left = f"<div class='accent pad' style='width:40%;height:100vh'>{title}</div>"
    return page(rng, f"<div class=row>{left}<div class=pad style='font-size:24px'>{points}</div></div>")


def calendar(rng: Random, photo: Photo) -> str:
    """A month with entries."""
    days = "".join(
        f"<div class=soft style='height:95px;padding:4px'>{day}<br>"
        + (f"<span class=accent>{word(rng)}</span>" if rng.random() < 0.4 else "")
        + "</div>"
        for day in range(1, 32)
    )
    css = ".grid{display:grid;grid-template-columns:repeat(7,1fr);gap:4px}"
    return page(rng, f"<div class=pad><h2>{name(rng)}</h2><div class=grid>{days}</div></div>", css)


STYLES: dict[str, Callable[[Random, Photo], str]] = {
    own.__name__: own
    for own in (
        article, table, terminal, code, phone_chat, phone_feed, phone_settings, dashboard, shop, form, slide,
        slide_columns, calendar,
    )
}  # fmt: skip
CONTENT = {"slide": "slide", "slide_columns": "slide", "table": "document"}  # all others are screenshots
