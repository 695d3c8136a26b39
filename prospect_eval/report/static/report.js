// The report of one run: charts, the table of episodes, and links to a time: #e=EPISODE&t=SECONDS&w=SECONDS SHOWN.
"use strict";

const byId = new Map(DATA.episodes.map((e) => [e.id, e]));
const stage = document.getElementById("stage");
let shown = null, line = null;

function show(id, quietly = false) {
  const episode = byId.get(id);
  if (!episode) return;
  shown = episode;
  line = openEpisode(stage, episode, link);
  if (!quietly) { link(); stage.scrollIntoView({ block: "start" }); stage.focus({ preventScroll: true }); }
}

function link() {
  if (!shown) return;
  let hash = `#e=${encodeURIComponent(shown.id)}`;
  if (line && line.at !== null) hash += `&t=${line.at.toFixed(2)}`;
  if (line && line.to - line.from < line.end - line.begin - 1e-6) hash += `&w=${(line.to - line.from).toFixed(2)}`;
  history.replaceState(null, "", hash);
}

function follow() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const id = asked.get("e");
  if (!id || !byId.has(id)) return;
  show(id, true);
  const at = Number(asked.get("t")), width = Number(asked.get("w"));
  if (line && asked.has("w") && width > 0) { const middle = asked.has("t") ? at : line.begin + width / 2; line.show(middle - width / 2, middle + width / 2, true); }
  if (line && asked.has("t") && Number.isFinite(at)) line.moment(at, true);
  stage.scrollIntoView({ block: "start" });
}

const charts = document.getElementById("charts"), c = DATA.charts;
if (c.pareto_front) frontChart(charts, c.pareto_front);
if (c.thresholds) thresholdChart(charts, c.thresholds, DATA.thresholds);
if (c.reliability && Object.values(c.reliability.bins).some((bins) => bins.length)) reliabilityChart(charts, c.reliability);
if (c.utility && c.utility.curves["this run"]) utilityChart(charts, c.utility);
if (c.delays.length) delayChart(charts, c.delays);
confusionChart(charts, DATA.confusion, DATA.states);
for (const found of c.retention) retentionChart(charts, found);
if (c.latency) timeChart(charts, "Latency over the stream", "Milliseconds per frame, measured frame by frame as in a live stream.", c.latency, "ms per frame");
if (c.cache) timeChart(charts, "KV cache over the stream", "Tokens in the KV cache by stream time, over all episodes.", c.cache, "tokens");
if (DATA.profile.length) profileChart(charts, DATA.profile);

episodeTable(document.getElementById("table"), DATA.episodes, show);
const first = DATA.episodes.find((e) => !e.error);
if (first) show(first.id, true);
follow();
window.addEventListener("hashchange", follow);
performance.mark("ready");
document.documentElement.dataset.ready = "yes";
