// Charts by Plotly. A chart is drawn when it is in view and the browser is idle. All charts are drawn before printing, and again
// when the color scheme changes.
"use strict";

const CHARTS = [];
let plotly = null;

function loadPlotly() {
  if (!plotly) {
    const code = document.getElementById("plotly");
    document.head.append(el("script", {}, code.textContent));
    code.remove();
    plotly = window.Plotly;
  }
  return plotly;
}

// figure() returns {data, layout}; words is a description for screen readers
function chart(host, title, words, figure, height = 300) {
  const place = el("div", { class: "plot", style: `height:${height}px`, role: "img", "aria-label": `${title}. ${words}` });
  host.append(el("figure", { class: "chart" }, el("figcaption", {}, el("b", {}, title), " ", el("span", { class: "soft small" }, words)), place));
  const entry = { place, figure, drawn: false };
  CHARTS.push(entry);
  watcher.observe(place);
  return entry;
}

function draw(entry) {
  const { data, layout } = entry.figure();
  const ink = color("ink"), line = color("line");
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  const full = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 12, family: "system-ui, sans-serif" },
    margin: { l: 50, r: 16, t: 8, b: 44 }, legend: { orientation: "h", y: -0.25 }, hovermode: "closest", ...layout,
  };
  for (const name of Object.keys(full).filter((key) => /^[xy]axis/.test(key))) full[name] = { ...axis, ...full[name] };
  loadPlotly().react(entry.place, data, full, { displaylogo: false, responsive: true, displayModeBar: false });
  entry.drawn = true;
}

// parsing Plotly and drawing each chart are separate tasks, so that the page responds to keys between them
const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 50));
const waiting = [];

function drawNext() {
  if (!plotly) loadPlotly();
  else {
    const entry = waiting.shift();
    if (!entry.drawn) draw(entry);
  }
  if (waiting.length) idle(drawNext);
}

const watcher = new IntersectionObserver((seen) => {
  const asleep = !waiting.length;
  for (const one of seen) {
    if (!one.isIntersecting) continue;
    watcher.unobserve(one.target);
    waiting.push(CHARTS.find((entry) => entry.place === one.target));
  }
  if (asleep && waiting.length) idle(drawNext);
}, { rootMargin: "200px" });

function drawAll() {
  for (const entry of CHARTS) if (!entry.drawn) draw(entry);
}

window.addEventListener("beforeprint", drawAll);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const entry of CHARTS) if (entry.drawn) draw(entry);
});

const frontName = (p) => (p.budget === null ? p.strategy : `${p.strategy} ${p.budget}`);

// positions of the labels of close points
const AROUND = ["top center", "bottom center", "middle right", "middle left", "top right", "bottom right"];

// quality over bytes of cache; dominated points are grey
function frontChart(host, found) {
  chart(host, "Quality and memory", `${found.quality} against the mean peak of the KV cache. Grey: another run is at least as good in quality and memory, and better in one of them.`, () => {
    const trace = (points, name, mark, shape) => ({
      x: points.map((p) => p.bytes / 1024), y: points.map((p) => p.quality), text: points.map(frontName), name,
      mode: "markers+text", textposition: points.map((_, k) => AROUND[k % AROUND.length]), textfont: { size: 10 },
      marker: { size: points.map((p) => (p.here ? 14 : 9)), color: mark, symbol: shape },
      error_y: { type: "data", symmetric: false, array: points.map((p) => (p.ci95 ? p.ci95[1] - p.quality : 0)), arrayminus: points.map((p) => (p.ci95 ? p.quality - p.ci95[0] : 0)), thickness: 1, color: mark },
      customdata: points.map((p) => [p.run, p.model]), hovertemplate: "%{text}<br>%{x:.1f} KiB, %{y:.3f}<extra></extra>",
    });
    const best = found.points.filter((p) => p.on_front);
    const line = { x: best.map((p) => p.bytes / 1024), y: best.map((p) => p.quality), mode: "lines", line: { color: color("speak"), dash: "dot", width: 1 }, hoverinfo: "skip", showlegend: false };
    return {
      data: [trace(found.points.filter((p) => !p.on_front), "not on the front", color("grey"), "circle-open"), trace(best, "on the front", color("speak"), "circle"), line],
      layout: { xaxis: { title: { text: "peak of the KV cache, KiB" }, rangemode: "tozero" }, yaxis: { title: { text: found.quality } } },
    };
  }, 380);
}

// differences with their intervals, for metrics that are shares
function differenceChart(host, rows) {
  const hue = { better: "good", worse: "bad", differs: "off" };
  const size = (d) => Math.abs(d.difference);
  const shown = rows.filter((d) => d.ci95 && d.share).sort((a, b) => size(a) - size(b)).slice(-24);
  if (!shown.length) return;
  chart(host, "Differences", "Second run minus first with 95 % intervals, for the metrics between 0 and 1 that differ most. Colored: the difference is significant.", () => ({
    data: [{
      x: shown.map((d) => d.second - d.first), y: shown.map((d) => d.name), mode: "markers", type: "scatter",
      marker: { size: 8, color: shown.map((d) => color(hue[d.verdict] ?? "grey")) },
      error_x: { type: "data", symmetric: false, array: shown.map((d) => d.ci95[1] - (d.second - d.first)), arrayminus: shown.map((d) => d.second - d.first - d.ci95[0]), thickness: 1, color: color("grey") },
    }],
    layout: { xaxis: { title: { text: "difference" }, zeroline: true, zerolinecolor: color("ink") }, yaxis: { automargin: true } },
  }), 60 + 20 * shown.length);
}

// event F1 over a threshold, one line for each threshold
function thresholdChart(host, found, used) {
  const words = `Event F1 within ${found.tolerance_s} s by threshold. Dotted: the run's thresholds, where the curve equals the run's score. ` +
    "Other points follow from the stored probabilities, without replaying the model (open loop).";
  chart(host, "Thresholds", words, () => {
    const data = Object.entries(found.curves).filter(([, points]) => points.length).map(([knob, points]) => ({
      x: points.map((p) => p.threshold), y: points.map((p) => p.f1), name: knob, mode: "lines+markers",
      line: { color: color(knob === "speaking" ? "speak" : "update") },
      error_y: { type: "data", symmetric: false, array: points.map((p) => (p.ci95 ? p.ci95[1] - p.f1 : 0)), arrayminus: points.map((p) => (p.ci95 ? p.f1 - p.ci95[0] : 0)), thickness: 1 },
    }));
    const shapes = Object.entries(used).map(([knob, at]) => ({ type: "line", x0: at, x1: at, yref: "paper", y0: 0, y1: 1, line: { dash: "dot", width: 1, color: color(knob === "speaking" ? "speak" : "update") } }));
    return { data, layout: { shapes, xaxis: { title: { text: "threshold" }, range: [0, 1] }, yaxis: { title: { text: "event F1" }, range: [0, 1] } } };
  });
}

// share of positive frames over the mean probability of each bin, one line for each decision
function reliabilityChart(host, found) {
  const words = `Frames grouped by predicted probability: the share within ${found.tolerance_s} s of a reference event, with 95 % intervals. A calibrated model lies on the dotted line; larger markers hold more frames.`;
  const all = Object.values(found.bins).flat().reduce((sum, bin) => sum + bin.frames, 0);
  chart(host, "Reliability of the probabilities", words, () => {
    const data = Object.entries(found.bins).filter(([, bins]) => bins.length).map(([decision, bins]) => {
      const hue = color(decision === "speaking" ? "speak" : "update");
      return {
        x: bins.map((bin) => bin.probability), y: bins.map((bin) => bin.positive), name: decision, mode: "lines+markers",
        line: { color: hue, width: 1 },
        marker: { color: hue, size: bins.map((bin) => 5 + 9 * Math.sqrt(bin.frames / all)) },
        error_y: {
          type: "data", symmetric: false, thickness: 1, color: hue,
          array: bins.map((bin) => (bin.ci95 ? bin.ci95[1] - bin.positive : 0)),
          arrayminus: bins.map((bin) => (bin.ci95 ? bin.positive - bin.ci95[0] : 0)),
        },
        customdata: bins.map((bin) => bin.frames),
        hovertemplate: "%{customdata} frames: probability %{x:.3f}, positive %{y:.3f}<extra></extra>",
      };
    });
    const shapes = [{ type: "line", x0: 0, y0: 0, x1: 1, y1: 1, line: { dash: "dot", width: 1, color: color("grey") } }];
    return {
      data,
      layout: {
        shapes, xaxis: { title: { text: "mean probability" }, range: [-0.02, 1.02] },
        yaxis: { title: { text: "share of positive frames" }, range: [-0.02, 1.02] },
      },
    };
  });
}

// utility over the cost of an unhelpful utterance: the run with its interval, and the baselines
function utilityChart(host, found) {
  const words = "Timely and correct utterances minus c times all others, per minute of video, where c is the cost of an unhelpful utterance. Silence scores 0. Shaded: 95 % intervals of this run.";
  chart(host, "Benefit against annoyance", words, () => {
    const band = found.curves["this run"].ci95;
    const data = [];
    if (band.every((ends) => ends)) {
      const edge = { x: found.costs, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
      data.push({ ...edge, y: band.map((ends) => ends[0]) });
      data.push({ ...edge, y: band.map((ends) => ends[1]), fill: "tonexty", fillcolor: `${color("speak")}33` });
    }
    const dashes = ["dot", "dash", "dashdot", "longdash"];
    // baselines with the same curve share one line with all their names
    const names = new Map();
    for (const [name, curve] of Object.entries(found.curves)) {
      const key = name === "this run" ? name : JSON.stringify(curve.value);
      names.set(key, [...(names.get(key) ?? []), name]);
    }
    [...names.values()].forEach((same, k) => {
      const [name] = same, curve = found.curves[name];
      const own = name === "this run";
      const line = own
        ? { color: color("speak"), width: 3 }
        : { color: color("grey"), width: 1.5, dash: dashes[k % dashes.length] };
      // a long name would leave no room for the chart
      const shown = same.length > 3 ? [...same.slice(0, 2), `${same.length - 2} more`] : same;
      data.push({ x: found.costs, y: curve.value, name: shown.join(", ").replaceAll("_", " "), mode: "lines", line });
    });
    // the curve of always_talk would flatten all others
    const own = [...found.curves["this run"].value, ...(found.curves.oracle?.value ?? []), 0];
    const room = 0.1 * (Math.max(...own) - Math.min(...own)) + 0.1;
    return {
      data,
      layout: {
        xaxis: { title: { text: "cost c of an unhelpful utterance" }, range: [0, 2] },
        yaxis: { title: { text: "utility per minute" }, range: [Math.min(...own) - room, Math.max(...own) + room] },
        legend: { orientation: "v", x: 1.02, y: 1, font: { size: 10 } },
      },
    };
  }, 360);
}

function delayChart(host, delays) {
  chart(host, "Speaking delay", "Seconds from a reference turn to the utterance paired with it, within 5 s. Negative: early.", () => ({
    data: [{ x: delays, type: "histogram", xbins: { start: -5.25, end: 5.25, size: 0.5 }, marker: { color: color("speak") } }],
    layout: { xaxis: { title: { text: "seconds" }, range: [-5.25, 5.25] }, yaxis: { title: { text: "turns" } }, bargap: 0.08 },
  }));
}

function confusionChart(host, table, states) {
  const shares = table.map((row) => { const sum = row.reduce((a, b) => a + b, 0); return row.map((n) => (sum ? n / sum : 0)); });
  chart(host, "Dialog state confusion", "Share of the (frame, step) pairs with a reference state (row) that were tracked as each state (column). Lower number: pairs.", () => ({
    data: [{ z: shares, x: states, y: states, type: "heatmap", zmin: 0, zmax: 1, showscale: false, colorscale: [[0, color("tint")], [1, color("completed")]], hovertemplate: "reference %{y}, tracked %{x}: %{z:.1%}<extra></extra>" }],
    layout: {
      yaxis: { autorange: "reversed" }, xaxis: { title: { text: "tracked" } },
      annotations: table.flatMap((row, y) => row.map((n, x) => ({ x: states[x], y: states[y], text: `${(100 * shares[y][x]).toFixed(1)} %<br>${n.toLocaleString("en")}`, showarrow: false, font: { color: color("ink"), size: 11 } }))),
    },
  }));
}

// metrics by the seconds, or by the compressions, since the reference state last changed
function retentionChart(host, { unit, metrics }) {
  const words = `Share of frames with all steps right, by the ${unit} since the last reference change.`;
  chart(host, `Retention by ${unit}`, words, () => ({
    data: Object.entries(metrics).map(([name, rows], k) => ({
      x: rows.map((r) => r[0]), y: rows.map((r) => r[1]), name, type: "bar",
      marker: { color: color(["speak", "update"][k]) },
      error_y: {
        type: "data", symmetric: false, thickness: 1,
        array: rows.map((r) => (r[2] ? r[2][1] - r[1] : 0)),
        arrayminus: rows.map((r) => (r[2] ? r[1] - r[2][0] : 0)),
      },
    })),
    layout: { yaxis: { range: [0, 1] }, xaxis: { type: "category", title: { text: `${unit} since the last change` } }, barmode: "group" },
  }));
}

function timeChart(host, title, words, found, unit) {
  chart(host, title, words, () => ({
    data: found.quantiles.map(([name, values], k) => ({ x: found.seconds, y: values, mode: "lines", name, line: { color: color(["speak", "update", "bad"][k]), width: 1.5 } })),
    layout: { xaxis: { title: { text: "seconds of stream" } }, yaxis: { title: { text: unit }, rangemode: "tozero" } },
  }));
}

function profileChart(host, rows) {
  chart(host, "Time by stage", "Seconds of all episodes. Videos whose frames were encoded before need no time for decode and vision.", () => ({
    data: [{ x: rows.map((r) => r[1]), y: rows.map((r) => r[0]), type: "bar", orientation: "h", marker: { color: color("speak") }, text: rows.map((r) => `${(100 * r[2]).toFixed(0)} %`), textposition: "auto" }],
    layout: { yaxis: { autorange: "reversed" }, xaxis: { title: { text: "seconds" } } },
  }));
}

function closedCurves(host, title, points, slow = false) {
  // values of other scales, such as bytes, would flatten the shares
  const isShare = (name) => points.every((p) => p.metrics[name].value === null || (p.metrics[name].value >= 0 && p.metrics[name].value <= 1));
  const names = Object.keys(points[0].metrics).filter((name) => isShare(name) && points.some((p) => p.metrics[name].value !== null));
  const replayed = slow ? "The model was replayed under a simulated clock at each latency" : "The model was replayed at each threshold (closed loop)";
  chart(host, title, `${replayed}. Metrics between 0 and 1.`, () => ({
    data: names.map((name) => ({ x: points.map((p) => p.threshold), y: points.map((p) => p.metrics[name].value), name, mode: "lines+markers" })),
    layout: {
      xaxis: slow ? { title: { text: "ms per frame" } } : { title: { text: "threshold" }, range: [0, 1] },
      yaxis: { range: [-0.02, 1.02] },
      legend: { orientation: "v", x: 1.02, y: 1, font: { size: 10 } },
    },
  }), 360);
}
