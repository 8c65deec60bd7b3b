// What a person decided: labels, choices, undo; kept in the browser, saved to and loaded from a file.

const VIEWS = DATA.views;
const FIELDS = ["id", "patient", "days", "view", "from", "probability", "taken", "why", "facts", "rr", "doubt"];
const CLIPS = DATA.clips.map((row, index) => {
  const clip = Object.fromEntries(FIELDS.map((name, i) => [name, row[i]]));
  return { ...clip, index, patient: DATA.patients[clip.patient], from: DATA.sources[clip.from], taken: Boolean(clip.taken) };
});
const BY_ID = new Map(CLIPS.map((clip) => [clip.id, clip]));
const BY_PATIENT = new Map(DATA.patients.map((patient) => [patient, []]));
for (const clip of CLIPS) BY_PATIENT.get(clip.patient).push(clip);
const KEY = `cardio_mlflow sort ${DATA.name}`;

// By clip id, [view, whether the clip was taken]: what stands now, and what the last saved or loaded file holds.
const labels = new Map();
const saved = new Map();
const steps = [];
let keeps = true;

const viewOf = (clip) => labels.get(clip.id)?.[0] ?? clip.view;
const sourceOf = (clip) => labels.has(clip.id) ? "eye" : clip.from;
const isChosen = (clip) => labels.get(clip.id)?.[1] ?? false;
const byEye = (clip) => sourceOf(clip) === "eye";
const isAsked = (clip) => sourceOf(clip) === "";
const same = (a, b) => a === b || (known(a) && known(b) && a[0] === b[0] && a[1] === b[1]);

// The clips that stand for one view of a patient; "another view" and no view are no places.
const candidates = (patient, view) => BY_PATIENT.get(patient).filter((clip) => viewOf(clip) === view);

// The one of them that is taken, as far as this page can know: a choice wins; else what the last run took.
function takenOf(clips) {
  return clips.find(isChosen) ?? clips.find((clip) => clip.taken && viewOf(clip) === clip.view);
}

function put(id, label) {
  if (label) labels.set(id, label);
  else labels.delete(id);
}

// One step that undo takes back as a whole. Changes: [clip, its new label or undefined]. Whether anything changed.
function decide(changes) {
  const news = changes.filter(([clip, label]) => !same(labels.get(clip.id), label));
  if (!news.length) return false;
  steps.push(news.map(([clip]) => [clip, labels.get(clip.id)]));
  for (const [clip, label] of news) put(clip.id, label);
  keep();
  return true;
}

// A clip that was taken for one view isn't for another.
const labelled = (clip, view) => [clip, [view, isChosen(clip) && viewOf(clip) === view]];

// Take a clip, or take that back; the patient has one clip of each view.
function choiceOf(clip) {
  const view = viewOf(clip);
  const others = candidates(clip.patient, view).filter((one) => one !== clip && isChosen(one));
  return [[clip, [view, !isChosen(clip)]], ...others.map((one) => [one, [view, false]])];
}

// The clips that are as they were before; null where there is nothing to undo.
function undone() {
  const step = steps.pop();
  if (!step) return null;
  for (const [clip, label] of step) put(clip.id, label);
  keep();
  return step.map(([clip]) => clip);
}

function unsaved() {
  return [...new Set([...labels.keys(), ...saved.keys()])].filter((id) => !same(labels.get(id), saved.get(id))).length;
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify({ labels: [...labels], saved: [...saved], edition: DATA.edition }));
    keeps = true;
  } catch {
    keeps = false;
  }
}

const isLabel = (label) => Array.isArray(label) && VIEWS.includes(label[0]) && typeof label[1] === "boolean";

// Labels of clips that this page doesn't show stay: they are another page's of the same cohort. Where another
// edition of the page was made from a file that says otherwise than what was saved here, the file is the newer.
function remember() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    for (const [map, entries] of [[labels, kept.labels], [saved, kept.saved]]) {
      map.clear();
      for (const [id, label] of entries ?? []) if (typeof id === "string" && isLabel(label)) map.set(id, label);
    }
    for (const clip of kept.edition === DATA.edition ? [] : CLIPS) {
      if (clip.from !== "eye" || !labels.has(clip.id) || labels.get(clip.id)[0] === clip.view) continue;
      if (same(labels.get(clip.id), saved.get(clip.id))) for (const map of [labels, saved]) map.delete(clip.id);
    }
  } catch {
    keeps = false;
  }
}

const cell = (text) => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;

function savedText() {
  const order = [...CLIPS.map((clip) => clip.id).filter((id) => labels.has(id)), ...[...labels.keys()].filter((id) => !BY_ID.has(id))];
  const rows = order.map((id) => [id, labels.get(id)[0], labels.get(id)[1] ? "yes" : ""].map(cell).join(","));
  return ["clip,view,chosen", ...rows, ""].join("\n");
}

// Rows of cells; commas or, as spreadsheets of some countries write, semicolons or tabs.
function readCells(text) {
  const first = text.split(/\r?\n/, 1)[0];
  const mark = [",", ";", "\t"].find((one) => first.includes(one)) ?? ",";
  const rows = [[]];
  const pattern = new RegExp(`("(?:[^"]|"")*"|[^${mark}\r\n]*)(${mark}|\r?\n|\r|$)`, "g");
  for (const [, quoted, end] of text.replace(/^\ufeff/, "").matchAll(pattern)) {
    rows.at(-1).push(quoted.startsWith('"') ? quoted.slice(1, -1).replaceAll('""', '"') : quoted.trim());
    if (end && end !== mark) rows.push([]);
    if (!end) break;
  }
  return rows.filter((row) => row.some(Boolean));
}

// Labels of a file that was saved: {labels: [clip, label], strange: rows of no clip here, wrong: rows without a known view}.
function readLabels(text) {
  const [head = [], ...rows] = readCells(text);
  const [clip, view, chosen] = ["clip", "view", "chosen"].map((name) => head.findIndex((one) => one.toLowerCase() === name));
  if (clip < 0 || view < 0) return null;
  const found = { labels: [], strange: 0, wrong: 0 };
  const names = new Map([...VIEWS.map((name) => [name.toLowerCase(), name]), ...Object.entries(DATA.codes).map(([code, name]) => [code.toLowerCase(), name])]);
  for (const row of rows) {
    const name = names.get((row[view] ?? "").toLowerCase());
    if (!BY_ID.has(row[clip])) found.strange += 1;
    else if (!name) found.wrong += 1;
    else found.labels.push([BY_ID.get(row[clip]), [name, ["yes", "true", "1", "x"].includes((row[chosen] ?? "").toLowerCase())]]);
  }
  return found;
}
