"""The card's style sheet: what surrounds the fragments of `parts.py` when they are live.

Every rule stands below `.tprov-card`; the selectors of ipywidgets and Lumino are the ones measured
in facts/widgets.md, section 1.
"""

from __future__ import annotations

from tprov_kernel.widgets import style

CARD = ".tprov-card"


def card_css(mark: str) -> str:
    """The whole sheet of a card whose snapshot carries the class `mark`."""
    twin = f"body:has({CARD}.{mark}-live)"
    hide = f"{twin} .jp-OutputArea-child:has(.{mark}),{twin} .{mark}{{display:none!important}}"
    rules = style.stylesheet(CARD) + _RULES + hide
    return f"<style>{rules.replace('%mono', style.MONO).replace('%sans', style.SANS)}</style>"


def row_css() -> str:
    """The sheet of a row of scenario buttons."""
    rules = style.stylesheet(".tprov-row>.widget-html") + _ROW
    return f"<style>{rules.replace('%mono', style.MONO).replace('%sans', style.SANS)}</style>"


_ROW = """
.tprov-row>.row{flex-wrap:wrap;gap:8px;padding:2px}
.tprov-row>.row .jupyter-button{width:auto;height:32px;line-height:30px;padding:0 14px;margin:0}
.tprov-row>.widget-html .widget-html-content{line-height:1.5;height:auto;font-family:%sans}
"""

_RULES = """
.tprov-card{margin:2px 0 8px;border:1px solid var(--tp-line);border-radius:8px;
  background:var(--tp-ground);color:var(--tp-text);font-family:%sans;font-size:13px;
  line-height:1.5;max-width:980px;overflow:hidden;min-width:0}
.tprov-card .widget-html,.tprov-card .widget-box{margin:0;min-width:0;overflow:visible}
.tprov-card .widget-html{width:auto}
.tprov-card .widget-html-content{line-height:1.5!important;height:auto;min-width:0;width:100%;
  overflow:visible;color:var(--tp-text);font-size:13px}
.tprov-card .widget-html>label{display:none}
.tprov-card .tp-pre,.tprov-card .tp-code{line-height:1.5}
.tprov-card .tp-frame{border:0;border-radius:0;max-width:none}
.tprov-card ol,.tprov-card ul{margin:2px 0 2px 18px;padding:0}
.tprov-card .hidden-words{position:absolute;width:1px;height:1px;overflow:hidden;
  clip-path:inset(50%);white-space:nowrap}

.tprov-card .head{display:flex;gap:4px 12px;align-items:center;flex-wrap:wrap;padding:10px 16px 9px}
.tprov-card .head>div:first-child{flex:1 1 260px;min-width:0;overflow-wrap:anywhere}
.tprov-card .bar{height:4px;background:var(--tp-line)}
.tprov-card .bar>div{height:4px}

.tprov-card .steps{display:grid;grid-template-columns:repeat(6,minmax(0,1fr));list-style:none;
  margin:0;padding:14px 16px 10px}
.tprov-card .steps li{position:relative;padding-right:8px;min-width:0}
.tprov-card .steps li::before{content:"";position:absolute;left:20px;right:0;top:9px;height:2px;
  background:var(--tp-line)}
.tprov-card .steps li.passed::before{background:var(--tp-ok)}
.tprov-card .steps li:last-child::before{display:none}
.tprov-card .dot{display:flex;width:20px;height:20px;border-radius:50%;align-items:center;
  justify-content:center;position:relative;font-size:12px;font-weight:700;line-height:1;
  box-sizing:border-box;border:2px solid currentColor;background:var(--tp-ground)}
.tprov-card .dot.full{border:0}
.tprov-card .dot.full>span{color:var(--tp-ground)}
.tprov-card .steps .label{font-weight:700;margin-top:4px}
.tprov-card .steps .note{font-size:12px;color:var(--tp-muted);overflow-wrap:anywhere}

.tprov-card .told{padding:2px 16px}
.tprov-card .ask-box{margin:4px 16px 12px!important;padding:10px 16px 12px;border:1px solid
  var(--tp-ask);border-left-width:4px;border-radius:5px;background:var(--tp-ask-tint)}
.tprov-card .ask-box .tp-muted{color:color-mix(in srgb,var(--tp-text) 78%,var(--tp-ask-tint))}
.tprov-card .again-box{margin:4px 16px 12px!important;padding:8px 16px 10px;border:1px solid
  var(--tp-busy);border-left-width:4px;border-radius:5px;background:var(--tp-busy-tint)}
.tprov-card .again-box .tp-muted{color:color-mix(in srgb,var(--tp-text) 78%,var(--tp-busy-tint))}
.tprov-card .again-box .tp-pre{background:transparent}
.tprov-card .ask-row{gap:8px;flex-wrap:wrap;align-items:center;margin-top:8px!important;padding:2px}
.tprov-card .ask-row .widget-text{flex:1 1 220px;width:auto;margin:0;height:34px;position:relative}
.tprov-card .ask-row .widget-text>label{position:absolute;width:1px;height:1px;overflow:hidden;
  clip-path:inset(50%)}
.tprov-card .ask-row .widget-text input{height:34px;width:100%;padding:0 10px;border-radius:4px;
  border:1px solid color-mix(in srgb,var(--tp-text) 55%,var(--tp-ground));
  background:var(--tp-ground);color:var(--tp-text);font-family:%sans;font-size:13px}
.tprov-card .ask-row .widget-text input::placeholder{color:var(--tp-muted);opacity:1}
.tprov-card .ask-row .jupyter-button{width:auto;height:34px;line-height:32px;margin:0;
  padding:0 18px;border-radius:4px;font-family:%sans;font-size:14px;font-weight:700}
.tprov-card .approve{background:var(--tp-ok)!important;color:var(--tp-ground)!important;
  border:1px solid var(--tp-ok)!important}
.tprov-card .again{background:var(--tp-ground)!important;color:var(--tp-busy)!important;
  border:1px solid var(--tp-busy)!important}
.tprov-card .deny{background:var(--tp-ground)!important;color:var(--tp-bad)!important;
  border:1px solid var(--tp-bad)!important}
.tprov-card .jupyter-button:disabled{opacity:.6}
.tprov-card .jupyter-button:hover:enabled{filter:brightness(1.08);box-shadow:none}
.tprov-card :focus-visible{outline:2px solid var(--tp-busy)!important;outline-offset:2px}

.tprov-card .widget-tab{margin:0;min-width:0}
.tprov-card .widget-tab>.lm-TabBar{border-top:1px solid var(--tp-line);border-bottom:1px solid
  var(--tp-line);background:var(--tp-raised);min-height:34px;overflow:visible}
.tprov-card .widget-tab>.lm-TabBar>.lm-TabBar-content{align-items:stretch}
.tprov-card .widget-tab>.lm-TabBar .lm-TabBar-tab{flex:0 1 auto;min-width:0;margin:0;border:0;
  border-top:2px solid transparent;background:transparent;color:var(--tp-muted);
  padding:0 16px;line-height:32px;font-family:%sans;font-size:13px;transform:none;top:0}
.tprov-card .widget-tab>.lm-TabBar .lm-TabBar-tab.lm-mod-current{background:var(--tp-ground);
  color:var(--tp-text);font-weight:700;border-top-color:var(--tp-busy);margin-bottom:-1px}
.tprov-card .widget-tab>.lm-TabBar .lm-mod-current::before{display:none}
.tprov-card .widget-tab>.widget-tab-contents{border:0;padding:12px 16px;background:var(--tp-ground);
  color:var(--tp-text);max-height:420px;overflow:auto;min-width:0}
.tprov-card .payload{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:4px 16px;
  margin:0 0 14px}
.tprov-card .payload>:first-child{grid-column:1/-1}
.tprov-card .payload pre{max-height:170px;overflow:auto;padding:6px 8px;
  background:var(--tp-raised);border-radius:4px}

.tprov-card .foot{border-top:1px solid var(--tp-line);padding:7px 16px;gap:4px 16px;
  flex-wrap:wrap;align-items:flex-start}
.tprov-card .foot>.widget-html:first-child{flex:1 1 auto}
.tprov-card .foot .widget-html-content{font-size:12px}
.tprov-card .foot a,.tprov-card .foot summary{margin-right:14px;cursor:pointer}
.tprov-card .foot details{display:inline-block;vertical-align:top}
.tprov-card .foot details[open]{display:block}
.tprov-card .foot details code{user-select:all;overflow-wrap:anywhere}

.tprov-card.jupyter-widgets-disconnected .jupyter-widgets-disconnected::before{display:none}
.tprov-card.jupyter-widgets-disconnected::before{
  content:"⚠ The kernel behind this card is gone. Run the set-up cell again."!important;
  display:block;padding:8px 16px;font:700 13px/1.5 %sans;color:var(--tp-bad);
  background:var(--tp-bad-tint);position:static;text-align:left;align-self:stretch;width:auto}
.tprov-card.jupyter-widgets-disconnected>*{opacity:.55;pointer-events:none}
"""
