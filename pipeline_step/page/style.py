"""How the page looks: light and dark, wide and on a phone, on paper, and where people choose their own colours."""

ICONS = {
    "yes": "M4 12.5 9.5 18 20 7",
    "no": "M6 6 18 18M18 6 6 18",
    "wait": "M12 7v5.5l3.5 2M12 3a9 9 0 1 1 0 18a9 9 0 0 1 0-18",
    "pause": "M9 6v12M15 6v12",
    "look": "M12 4v10M12 18.5v.5",
    "up": "M5 13 12 6l7 7M12 6v13",
}
"""Paths in a square of 24."""

STYLE = """
:root{color-scheme:light dark;--page:#f4f6f9;--card:#fff;--line:#dbe1ea;--ink:#17202e;--dim:#536075;--grid:#e6eaf1;
--preview:#1d5fd1;--stable:#6d7788;--good:#11734a;--bad:#b3261e;--warn:#8a5300;--calm:#3f5b8c;
--good-soft:#e0f3e9;--bad-soft:#fce6e4;--warn-soft:#fdf0d7;--calm-soft:#e5edfa}
@media (prefers-color-scheme:dark){:root{--page:#0e131b;--card:#171e29;--line:#2b3545;--ink:#e8edf5;--dim:#a3afc2;
--grid:#242e3d;--preview:#74a9ff;--stable:#9aa6b8;--good:#6fd6a3;--bad:#ff9b92;--warn:#f3c263;--calm:#9dbcf5;
--good-soft:#143326;--bad-soft:#43201e;--warn-soft:#3b2d12;--calm-soft:#1d2b45}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans",sans-serif;-webkit-text-size-adjust:100%}
header,main,footer{max-width:1080px;margin:0 auto;padding:0 16px}
header{padding-top:18px;padding-bottom:10px;display:flex;flex-wrap:wrap;gap:2px 14px;align-items:baseline;
justify-content:space-between;color:var(--dim);font-size:.92rem}
.problem{flex-basis:100%;padding:8px 14px;border-radius:8px;background:var(--warn-soft);color:var(--warn);
font-weight:650}
header strong{color:var(--ink);font-size:1rem}
footer{color:var(--dim);font-size:.85rem;padding-bottom:32px}
a{color:var(--preview)}
h1,h2{line-height:1.25;margin:0}
h1{font-size:clamp(1.35rem,1.1rem + 1.4vw,1.9rem);letter-spacing:-.01em}
h2{font-size:1.1rem;margin-bottom:10px}
p{margin:0}
section,figure{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:18px;margin:0 0 16px;
overflow-wrap:anywhere;min-width:0}
.first{border-top:5px solid var(--tone)}
.good{--tone:var(--good);--soft:var(--good-soft)}.bad{--tone:var(--bad);--soft:var(--bad-soft)}
.warn{--tone:var(--warn);--soft:var(--warn-soft)}.calm{--tone:var(--calm);--soft:var(--calm-soft)}
.verdict{display:flex;gap:14px;align-items:center}
.verdict svg{flex:none;width:52px;height:52px;padding:12px;border-radius:50%;background:var(--soft);color:var(--tone)}
.verdict h1{color:var(--tone)}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.icon{fill:none;stroke:currentColor;stroke-width:2.6;stroke-linecap:round;stroke-linejoin:round}
.why{margin-top:12px}.why+.why{margin-top:4px;color:var(--dim);font-size:.95rem}
.shares{margin-top:18px}
.bar{display:flex;height:26px;gap:3px}
.bar span{display:block;border-radius:5px;min-width:6px}
.bar .stable{opacity:.55;background:var(--stable)}
.bar .preview{background:var(--preview)}
.sides{display:flex;justify-content:space-between;gap:16px;margin:8px 0 0;padding:0;list-style:none}
.sides li:last-child{text-align:right}
.sides b{display:block;font-size:1.5rem;line-height:1.2;font-variant-numeric:tabular-nums}
.sides small{color:var(--dim);display:block}
.next{display:grid;gap:4px 20px;grid-template-columns:1fr auto;align-items:start;margin-top:18px;padding:14px 16px;
background:var(--soft);border-radius:10px}
.next h2{margin:0;font-size:.85rem;color:var(--dim);font-weight:600}
.next .what{font-size:1.06rem;font-weight:600}
.next .until{color:var(--dim);font-size:.95rem}
.next dl{display:flex;gap:20px;margin:0;text-align:right}
.next dt{font-size:.85rem;color:var(--dim)}
.next dd{margin:0;font-variant-numeric:tabular-nums;font-weight:650}
.next small{color:var(--dim);font-weight:400;display:block}
.plan{display:flex;flex-wrap:wrap;gap:6px;list-style:none;margin:14px 0 0;padding:0;font-size:.92rem}
.plan li{padding:3px 11px;border:1px solid var(--line);border-radius:99px;color:var(--dim)}
.plan .done{background:var(--soft);color:var(--ink)}
.plan [aria-current]{border:2px solid var(--tone);color:var(--ink);font-weight:700}
.charts{display:grid;gap:16px;grid-template-columns:minmax(0,1fr);margin-bottom:16px}
@media (min-width:860px){.charts{grid-template-columns:repeat(2,minmax(0,1fr))}}
.charts>*{margin:0}
.charts>section:last-child:nth-child(odd){grid-column:1/-1}.charts section p+p{margin-top:8px}
figcaption{margin-bottom:8px}
figcaption p{color:var(--dim);font-size:.92rem}
.key{display:flex;flex-wrap:wrap;gap:2px 16px;list-style:none;margin:6px 0 0;padding:0;font-size:.88rem}
.key svg{width:30px;height:10px;vertical-align:middle;margin-right:6px}
.chart{display:block;width:100%;height:auto}
.chart text{font-size:12px;fill:var(--dim)}
.chart .grid{stroke:var(--grid)}
.line{fill:none;stroke-width:2.4;stroke:var(--ink);stroke-linejoin:round}
.line.preview,.line.against{stroke:var(--preview)}.line.against{stroke:var(--bad)}
.line.stable{stroke:var(--stable);stroke-dasharray:7 4}
.line.counted{stroke:var(--ink);stroke-width:1.6;stroke-dasharray:2 3}
.line.favour{stroke:var(--good);stroke-dasharray:9 4}
.end{fill:var(--ink)}.end.preview{fill:var(--preview)}.end.against{fill:var(--bad)}.end.favour{fill:var(--good)}
.end.stable{fill:var(--stable)}
.band{opacity:.17;fill:var(--preview)}.band.stable{fill:var(--stable);opacity:.22}
.chart line.limit{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:1 0}
.chart text.limit{fill:var(--ink);font-weight:600}
.chart line.mark{stroke:var(--dim);stroke-width:1;stroke-dasharray:1 4}
.chart text.mark{font-size:11px}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:7px 10px 7px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--dim);font-weight:600}
tr:last-child>*{border-bottom:0}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.rows{overflow-x:auto;max-width:100%}
.tag{display:inline-block;padding:1px 9px;border-radius:99px;background:var(--soft);color:var(--tone);font-weight:650;
white-space:nowrap}
details{margin-top:8px}
summary{cursor:pointer;color:var(--dim);font-size:.9rem;width:fit-content}
.gates,.events{list-style:none;margin:0;padding:0}
.gates li{padding:10px 0;border-bottom:1px solid var(--line)}
.gates li:first-child{padding-top:0}.gates li:last-child,.events li:last-child{border:0}
.gates b{margin-right:8px}.gates p{color:var(--dim);font-size:.95rem;margin-top:3px}
.events li{display:grid;grid-template-columns:5.2em 1fr;gap:10px;padding:7px 0;border-bottom:1px solid var(--line)}
.events time,.events small{color:var(--dim);font-variant-numeric:tabular-nums}
.events small{display:block;font-size:.92rem}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--grid);padding:2px 6px;
border-radius:5px}
.facts{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 18px;margin:0}
.facts dt{color:var(--dim)}.facts dd{margin:0}
:focus-visible{outline:3px solid var(--preview);outline-offset:2px;border-radius:4px}
@media (max-width:560px){section,figure{padding:15px;border-radius:12px}.next{grid-template-columns:1fr}
.next dl{text-align:left;margin-top:6px}.verdict svg{width:44px;height:44px;padding:10px}
.facts{grid-template-columns:1fr}.facts dd{margin-bottom:8px}}
@media (forced-colors:active){.bar span{border:2px solid CanvasText}.line{stroke:CanvasText}.tag{border:1px solid}}
@media print{body{background:#fff}section,figure{break-inside:avoid}}
"""
