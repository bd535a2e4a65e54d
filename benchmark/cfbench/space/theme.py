"""How the page looks: fonts of the reader's own machine, and colours of enough contrast."""

from importlib.resources import files

import gradio as gr

_LIGHT = {"link": "#174f87", "ink": "#1b1d1f", "soft": "#565c62", "edge": "#7d858c"}
_DARK = {"link": "#8fc1f0", "ink": "#e4e7ea", "soft": "#a5adb5", "edge": "#78828b"}
_BUTTON = "#174f87"
_ROLES = {
    "body_text_color": "ink",
    "body_text_color_subdued": "soft",
    "block_title_text_color": "ink",
    "block_label_text_color": "ink",
    "block_info_text_color": "soft",
    "checkbox_label_text_color": "ink",
    "input_border_color": "edge",
    "checkbox_border_color": "edge",
    "checkbox_label_border_color": "edge",
    "link_text_color": "link",
    "link_text_color_hover": "link",
    "link_text_color_visited": "link",
    "link_text_color_active": "link",
    "color_accent": "link",
}


def theme() -> gr.themes.Base:
    """The theme of the page, which asks no other machine for anything."""
    colours = {
        name + ending: palette[role]
        for ending, palette in (("", _LIGHT), ("_dark", _DARK))
        for name, role in _ROLES.items()
        # One that is the same in both.
        if name + ending != "color_accent_dark"
    }
    for ending in ("", "_dark"):
        for state in ("", "_hover"):
            colours[f"button_primary_background_fill{state}{ending}"] = _BUTTON
        colours[f"button_primary_text_color{ending}"] = "#ffffff"
    look = gr.themes.Default(
        primary_hue=gr.themes.colors.blue,
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return look.set(**colours)


def style() -> str:
    """What the theme has no word for."""
    return (files("cfbench.space") / "assets" / "page.css").read_text(encoding="utf-8")
