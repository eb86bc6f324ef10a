// A scan and its masks by NiiVue: layout, window, labels, and keys as in ITK-SNAP.
"use strict";
const byId = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search).get("case");
const ofCase = (more) => new URLSearchParams({ ...(asked === null ? {} : { case: asked }), ...more });

const LAYOUTS = { "three planes": "MULTIPLANAR", axial: "AXIAL", coronal: "CORONAL", sagittal: "SAGITTAL", "3D": "RENDER" };
const WINDOWS = { "as found": null, "soft tissue": [-160, 240], lung: [-1350, 150], bone: [-500, 1300], brain: [0, 80] };
const MASK_COLOURS = [[79, 143, 216], [224, 138, 60], [87, 167, 115], [179, 95, 196], [201, 80, 79]];
const OUTLINE = 0.25;                  // NiiVue's width of an overlay's outline; 0 fills it

const CROSSHAIR = 0.3;                 // percent of the picture

const nv = new niivue.Niivue({
  backColor: [0, 0, 0, 1],
  crosshairColor: [1, 1, 0.4, 0.5],
  isRadiologicalConvention: true,      // the patient's right at the left
  sagittalNoseLeft: true,
  isOrientationTextVisible: true,
  multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS,
  multiplanarLayout: niivue.MULTIPLANAR_TYPE.GRID,
  show3Dcrosshair: true,
  crosshairWidth: CROSSHAIR,
  crosshairWidthUnit: "percent",
  dragAndDropEnabled: false,
  viewModeHotKey: "",
  clipPlaneHotKey: "",
  cycleClipPlaneHotKey: "",
  loadingText: "",
  logLevel: "error",
});
let told = null;                       // of case.json
let shown = true;                      // the masks
let crosshair = true;

// what a reader may press, and what it does; also what the list of keys says
const KEYS = [
  ["S", "masks on and off", () => { shown = !shown; showMasks(); }],
  ["A", "masks less opaque", () => changeOpacity(-0.1)],
  ["D", "masks more opaque", () => changeOpacity(0.1)],
  ["O", "outlines only", () => { byId("outline").click(); }],
  ["M", "the next mask alone", nextMask],
  ["X", "crosshair on and off", () => { crosshair = !crosshair; nv.setCrosshairWidth(crosshair ? CROSSHAIR : 0); }],
  ["ArrowUp", "a slice towards the head", () => nv.moveCrosshairInVox(0, 0, 1)],
  ["ArrowDown", "a slice towards the feet", () => nv.moveCrosshairInVox(0, 0, -1)],
  ["ArrowLeft", "a slice to the picture's left", () => nv.moveCrosshairInVox(1, 0, 0)],
  ["ArrowRight", "a slice to the picture's right", () => nv.moveCrosshairInVox(-1, 0, 0)],
  ["PageUp", "a slice to the front", () => nv.moveCrosshairInVox(0, 1, 0)],
  ["PageDown", "a slice to the back", () => nv.moveCrosshairInVox(0, -1, 0)],
  ...Object.keys(LAYOUTS).map((name, n) => [String(n + 1), name, () => setLayout(name)]),
  ["R", "window as found", () => setWindow("as found")],
];

function choices(id, names, choose) {
  for (const name of names) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => choose(name));
    byId(id).append(button);
  }
}

function press(id, name) {
  for (const button of byId(id).querySelectorAll("button"))
    button.setAttribute("aria-pressed", String(button.textContent === name));
}

function setLayout(name) {
  nv.setSliceType(niivue.SLICE_TYPE[LAYOUTS[name]]);
  press("layout", name);
}

function setWindow(name) {
  const [low, high] = WINDOWS[name] ?? told.window;
  nv.volumes[0].cal_min = low;
  nv.volumes[0].cal_max = high;
  nv.updateGLVolume();
  press("window", name);
}

function changeOpacity(by) {
  const range = byId("opacity");
  range.value = String(Math.min(1, Math.max(0, Number(range.value) + by)));
  showMasks();
}

function nextMask() {
  const boxes = [...document.querySelectorAll(".mask > label > input")];
  if (boxes.length === 0) return;
  const alone = boxes.filter((box) => box.checked).length === 1 ? boxes.findIndex((box) => box.checked) : -1;
  boxes.forEach((box, n) => { box.checked = n === (alone + 1) % boxes.length; });
  showMasks();
}

// Colours and opacities of all masks, as the boxes say.
function showMasks() {
  const opacity = Number(byId("opacity").value);
  told.masks.forEach((mask, n) => {
    const wanted = document.querySelector(`#mask-${n}`).checked && shown;
    if (mask.heat !== null) {            // a map of numbers, not labels
      nv.setOpacity(n + 1, wanted ? opacity : 0);
      return;
    }
    const own = byId("by-mask").checked ? MASK_COLOURS[n % MASK_COLOURS.length] : null;
    const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: ["background"] };
    for (const label of mask.labels) {
      const [r, g, b] = own ?? label.colour;
      table.R.push(r); table.G.push(g); table.B.push(b); table.I.push(label.number); table.labels.push(label.name);
      table.A.push(document.querySelector(`#label-${n}-${label.number}`).checked ? 255 : 0);
    }
    nv.volumes[n + 1].setColormapLabel(table);
    nv.setOpacity(n + 1, wanted ? opacity : 0);
  });
  nv.overlayOutlineWidth = byId("outline").checked ? OUTLINE : 0;
  nv.updateGLVolume();
  document.body.dataset.masks = shown ? "shown" : "hidden";
}

function box(id, text, checked) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = "checkbox";
  input.id = id;
  input.checked = checked;
  input.addEventListener("change", showMasks);
  label.append(input, text);
  return label;
}

function listMasks() {
  told.masks.forEach((mask, n) => {
    const part = document.createElement("div");
    part.className = "mask";
    const heading = box(`mask-${n}`, "", true);
    heading.className = "line";
    heading.append(mask.name);
    const list = document.createElement("ul");
    for (const label of mask.labels) {
      const row = box(`label-${n}-${label.number}`, "", true);
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = `rgb(${label.colour.join(",")})`;
      const ml = document.createElement("span");
      ml.className = "ml";
      ml.textContent = `${label.ml >= 10 ? label.ml.toFixed(0) : label.ml.toFixed(2)} ml`;
      row.append(swatch, label.name, ml);
      const item = document.createElement("li");
      item.append(row);
      list.append(item);
    }
    part.append(heading, list);
    byId("masks").append(part);
  });
  if (told.masks.length === 0) byId("masks").textContent = "none was given";
}

// NiiVue gives the value at a volume's edge for what is beyond it.
function inside(place, number) {
  const [, ...sizes] = nv.volumes[number].dimsRAS;
  return place.values[number].vox.every((index, axis) => index >= 0 && index < sizes[axis]);
}

function tellWhere(place) {
  const [x, y, z] = place.mm;
  const mm = [[x, "R", "L"], [y, "A", "P"], [z, "S", "I"]]
    .map(([value, positive, negative]) => `${value < 0 ? negative : positive} ${Math.abs(value).toFixed(1)}`).join("  ");
  const values = place.values.map((one) => one.value);
  const labels = told.masks.map((mask, n) => {
    const found = mask.heat === null
      ? mask.labels.find((label) => inside(place, n + 1) && label.number === Math.round(values[n + 1]))
      : inside(place, n + 1) && { name: Number(values[n + 1]).toFixed(2) };
    return `${told.masks.length > 1 ? `${mask.name}: ` : ""}${found ? found.name : "-"}`;
  });
  byId("where").textContent = [`${mm} mm`, `value ${Number(values[0]).toFixed(0)}`, ...labels].join("   ");
}

function listCases() {
  if (told.cases.length < 2) return;
  byId("others").hidden = false;
  for (const name of told.cases) byId("cases").append(new Option(name, name, false, name === told.case));
  byId("cases").addEventListener("change", () => {
    location.search = String(new URLSearchParams({ case: byId("cases").value }));
  });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input[type=range]")) return;
  const wanted = event.key.length === 1 ? event.key.toUpperCase() : event.key;
  const known = KEYS.find(([key]) => key === wanted);
  if (known === undefined || told === null) return;
  event.preventDefault();
  event.stopImmediatePropagation();    // NiiVue has keys of its own
  known[2]();
}

async function start() {
  stayOpen();
  const answer = await fetch(`case.json?${ofCase({})}`);
  if (!answer.ok) throw new Error(await answer.text());
  const found = await answer.json();
  document.title = `${found.case}, Gridgate`;
  byId("case").textContent = found.case;
  nv.onLocationChange = (place) => { if (told !== null) tellWhere(place); };
  await nv.attachToCanvas(byId("canvas"));
  const volume = (number, more) => ({ url: `volume.nii?${ofCase({ number })}`, name: `${number}.nii`, ...more });
  const [low, high] = found.window;
  await nv.loadVolumes([
    volume(0, { colormap: "gray", cal_min: low, cal_max: high, trustCalMinMax: false }),
    ...found.masks.map((mask, n) => volume(n + 1, mask.heat === null
      ? { colormap: "red", opacity: 0.5 }
      : { colormap: "inferno", opacity: 0.5, cal_min: mask.heat[0], cal_max: mask.heat[1], trustCalMinMax: false })),
  ]);
  told = found;
  choices("layout", Object.keys(LAYOUTS), setLayout);
  choices("window", Object.keys(WINDOWS), setWindow);
  for (const [key, meaning] of KEYS) {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = key.replace("Arrow", "arrow ").toLowerCase().replace(/^.$/, (one) => one.toUpperCase());
    text.textContent = meaning;
    byId("keys").append(term, text);
  }
  listMasks();
  listCases();
  for (const id of ["opacity", "outline", "by-mask"]) byId(id).addEventListener("input", showMasks);
  window.addEventListener("keydown", onKey, true);
  nv.scene.crosshairPos = nv.mm2frac(found.centre, 0, true);
  setLayout("three planes");
  setWindow("as found");
  showMasks();
  nv.createOnLocationChange();
  byId("message").textContent = "";
  document.body.dataset.ready = "true";
}

start().catch((error) => {
  byId("message").className = "bad";
  byId("message").textContent = error.message;
  document.body.dataset.ready = "failed";
});
