// One clip's card: picture, facts and time line.

const FRAMES = DATA.frames;
const COLUMN = Object.fromEntries(DATA.columns.map((name, i) => [name, i]));
const CLIPS = DATA.clips.map(([patient, view, values, picture, drawing], index) => ({
  index, patient, view, picture, drawing, id: DATA.patients[patient],
  value: (name) => values[COLUMN[name]],
  flags: (values[COLUMN.review] ?? "").split(" ").filter(Boolean),
}));

const words = (code) => String(code).replaceAll("_", " ");
const viewName = (clip) => `${DATA.views[clip.view][0]} ${DATA.views[clip.view][1]}`;

function described(clip) {
  const outcome = clip.value("outcome");
  const fate = outcome === "OK" ? `prepared, R–R ${known(clip.value("rr_ms")) ? Math.round(clip.value("rr_ms")) + " ms" : "unknown"}`
    : `${DATA.words[outcome]}, no picture`;
  return `Patient ${clip.id}, ${DATA.views[clip.view][2]} view: ${fate}`;
}

function card(clip, named) {
  const outcome = clip.value("outcome");
  const node = element("article", { class: "clip", tabindex: "-1", "aria-label": described(clip) });
  node.clip = clip;
  node.classList.toggle("refused", outcome !== "OK");
  node.classList.toggle("flagged", clip.flags.length > 0);
  time(node, clip);
  const badge = element("span", { class: outcome === "OK" ? "badge ok" : "badge", title: DATA.words[outcome] }, outcome);
  node.append(
    element("div", { class: "name" }, named ? element("span", { class: "who" }, clip.id) : null,
      element("b", { title: DATA.views[clip.view][2] }, DATA.views[clip.view][0]), element("span", {}, DATA.views[clip.view][1]), badge),
    element("div", { class: "body" }, picture(clip), facts(clip)),
  );
  node.append(...timeline(clip));
  return node;
}

// The prepared frames are equally spaced over one R–R interval, so this is the speed of the heart.
function time(node, clip) {
  node.style.setProperty("--frames", FRAMES);
  node.style.setProperty("--cycle-time", `${clip.value("rr_ms") ?? 1000}ms`);
}

function picture(clip) {
  if (!clip.picture) return null;
  const image = element("img", { src: clip.picture, loading: "lazy", draggable: "false",
    alt: `Patient ${clip.id}, ${DATA.views[clip.view][2]} view, one heart cycle` });
  const box = element("div", { class: "picture" }, image);
  image.addEventListener("error", () => box.append(element("p", { class: "lost" },
    "Picture not found. The folder “review” must lie beside this page.")));
  if (clip.drawing && clip.drawing.outline.length) {
    box.append(element("svg", { viewBox: `0 0 ${DATA.size} ${DATA.size}`, "aria-hidden": "true" },
      element("polygon", { points: clip.drawing.outline.join(" ") }), ...depthMarks(clip)));
  }
  return box;
}

// A mark each 5 cm below the apex, at the right.
function depthMarks(clip) {
  const [mm, top] = ["prepared_mm_per_pixel", "prepared_apex_y"].map(clip.value);
  if (!known(mm) || !known(top)) return [];
  const marks = [];
  for (let y = top + 50 / mm; y < DATA.size; y += 50 / mm) {
    if (y > 0) marks.push(element("line", { class: "depth", x1: DATA.size - 8, x2: DATA.size, y1: y.toFixed(1), y2: y.toFixed(1) }));
  }
  return marks;
}

function facts(clip) {
  const list = element("ul", { class: "facts" });
  const say = (text, kind = "") => list.append(element("li", { class: kind }, text));
  const number = (name, digits) => clip.value(name).toFixed(digits);
  if (clip.value("outcome") !== "OK") {
    list.append(element("li", {}, element("strong", {}, DATA.words[clip.value("outcome")]), ", no picture"));
    if (known(clip.value("message"))) say(clip.value("message"));
    return list;
  }
  if (known(clip.value("gating"))) say(`gating: ${words(clip.value("gating"))}`);
  say(clip.value("phase_verified") ? "✓ phase verified" : "phase not verified", clip.value("phase_verified") ? "yes" : "no");
  if (known(clip.value("rr_ms"))) say(`R–R ${number("rr_ms", 0)} ms · ${(60000 / clip.value("rr_ms")).toFixed(0)}/min`);
  if (known(clip.value("frames_used"))) say(`${clip.value("frames_used")} of ${clip.value("frames")} frames`);
  if (known(clip.value("frame_rate"))) say(`${number("frame_rate", 1)} frames/s`);
  if (known(clip.value("depth_cm"))) say(`${number("depth_cm", 1)} cm, ${clip.value("scale_source")}`);
  else say("no true scale", "no");
  if (known(clip.value("fit_score"))) say(`fit ${number("fit_score", 3)}`);
  if (known(clip.value("inpainted_percent"))) say(`inpainted ${number("inpainted_percent", 2)} %`);
  if (known(clip.value("notes"))) say(clip.value("notes"), "notes");
  if (clip.flags.length) list.append(element("li", { class: "flags" }, ...clip.flags.map((flag) => element("span", {}, words(flag)))));
  return list;
}

// Where each part of the cycle starts, and how many seconds at its left and right end were not taken. A cycle that
// reaches beyond the clip goes on before its R wave: the same cycle one length earlier.
function cycleParts({ cycle: [start, stop], duration }) {
  const over = stop - duration;
  return over > 0 ? [[start, 0, over], [start - (stop - start), duration - start, 0]] : [[start, 0, 0]];
}

function timeline(clip) {
  const drawing = clip.drawing;
  if (!drawing || !drawing.duration) return [];
  const sure = Boolean(clip.value("phase_verified"));
  const percent = (seconds) => 100 * Math.min(1, Math.max(0, seconds / drawing.duration));
  const cycles = cycleParts(drawing).map(([left, hiddenLeft, hiddenRight]) => {
    const length = drawing.cycle[1] - drawing.cycle[0];
    const part = element("div", { class: sure ? "cycle" : "cycle unsure" }, element("i"));
    part.style.left = `${100 * left / drawing.duration}%`;
    part.style.width = `${100 * length / drawing.duration}%`;
    part.style.clipPath = `inset(0 ${100 * hiddenRight / length}% 0 ${100 * hiddenLeft / length}%)`;
    return part;
  });
  const marks = drawing.r.filter((t) => t >= 0 && t <= drawing.duration).map(percent)
    .map((x) => element("line", { class: sure ? "r" : "assumed", x1: x, x2: x, y1: 0, y2: 100 }));
  const text = `${drawing.ecg ? "ECG" : "no ECG"}, ${drawing.duration.toFixed(2)} s · `
    + (sure ? `${marks.length} R wave${marks.length === 1 ? "" : "s"}` : "cycle assumed, not phase-verified");
  const line = drawing.ecg ? element("path", { class: "trace", d: tracePath(drawing.ecg) })
    : element("path", { class: sure ? "bar" : "assumed", d: "M0 50H100" });
  const svg = element("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": text }, ...marks, line);
  return [element("div", { class: "strip" }, ...cycles, svg), element("div", { class: sure ? "strip-words" : "strip-words no" }, text)];
}

// Levels 1 to 255 from bottom to top; 0 lifts the pen.
function tracePath(encoded) {
  const levels = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
  let path = "", down = false;
  levels.forEach((level, i) => {
    if (level) path += `${down ? "L" : "M"}${(100 * i / (levels.length - 1)).toFixed(2)} ${(94 - 88 * (level - 1) / 254).toFixed(1)}`;
    down = level > 0;
  });
  return path;
}
