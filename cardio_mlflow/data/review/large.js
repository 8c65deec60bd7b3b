// One clip, enlarged: its frames one by one, and all that is known of it.

const NAMES = {
  rr_ms: "R–R, ms", r_waves: "R waves", ecg: "drawn ECG", duration_s: "duration, s", frame_rate: "frames per second",
  frames_used: "different frames used", fit_score: "sector fit, 0 to 1", inpainted_percent: "inpainted, % of the sector",
  depth_cm: "depth, cm", scale_source: "true scale from",
  mm_per_pixel: "mm per pixel", prepared_mm_per_pixel: "prepared: mm per pixel", prepared_apex_x: "prepared: apex, pixels across",
  prepared_apex_y: "prepared: apex, pixels down", rows: "rows, pixels", columns: "columns, pixels", review: "to review",
};
const TEXTS = ["outcome", "message", "manufacturer", "notes"];

function enlarge(clip) {
  const dialog = get("large");
  const big = card(clip, true);
  big.className = "";
  big.setAttribute("autofocus", "");
  const body = big.querySelector(".body");
  const left = clip.picture ? element("div", {}, body.querySelector(".picture"), stepper()) : null;
  body.replaceWith(element("div", { class: "large" }, left, everything(clip)));
  const keys = element("span", { class: "keys" });
  const frames = clip.picture ? [[",", ""], [".", "frame "], ["space", "play or stop "]] : [];
  for (const [key, text] of [["←", ""], ["→", "clip "], ["j", ""], ["k", "patient "], ...frames, ["Esc", "close"]]) {
    keys.append(element("kbd", {}, key), ` ${text}`);
  }
  dialog.style.setProperty("--frame", 0);
  dialog.replaceChildren(big, element("form", { method: "dialog" }, keys, element("button", {}, "close")));
  if (!dialog.open) dialog.showModal();
  else big.focus();
  dialog.scrollTop = 0;
  if (clip.picture) requestAnimationFrame(() => follow(big));
}

function everything(clip) {
  const said = (name, value) => {
    if (typeof value === "boolean") return value ? "yes" : "no";
    return TEXTS.includes(name) ? String(value) : words(value);
  };
  const rows = DATA.columns.filter((name) => known(clip.value(name)))
    .map((name) => element("tr", {}, element("th", { scope: "row" }, NAMES[name] ?? words(name)), element("td", {}, said(name, clip.value(name)))));
  return element("table", {}, element("tbody", {}, ...rows));
}

function stepper() {
  const slider = element("input", { id: "frame", type: "range", min: 0, max: FRAMES - 1, value: 0, "aria-label": "Frame" });
  slider.addEventListener("input", () => showFrame(Number(slider.value)));
  return element("div", { class: "stepper" }, "frame", slider, element("span", { id: "frame-number" }, `1 / ${FRAMES}`));
}

function showFrame(number) {
  play(false);
  get("large").style.setProperty("--frame", number);
  tell(number);
}

function stepFrame(step) {
  if (get("frame")) showFrame((Number(get("frame").value) + step + FRAMES) % FRAMES);
}

function tell(number) {
  get("frame").value = number;
  get("frame-number").textContent = `${number + 1} / ${FRAMES}`;
}

// While the picture plays, the slider goes with it; where it is stopped, it stays at the frame shown.
function follow(big) {
  if (!get("large").open || !big.isConnected) return;
  const [film] = big.querySelector(".picture img").getAnimations();
  if (film) {
    const number = Math.min(FRAMES - 1, Math.floor((film.effect.getComputedTiming().progress ?? 0) * FRAMES));
    get("large").style.setProperty("--frame", number);
    tell(number);
  }
  requestAnimationFrame(() => follow(big));
}
