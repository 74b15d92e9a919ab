// Identifies the people in a photo: draws boxes on the picture, and adds a card for each face.

const version = new URL(import.meta.url).search;
const { at, fill, post, showProblem, wordsOf } = await import(`./admin_send.js${version}`);
const { takeFiles } = await import(`./admin_drop.js${version}`);

const MAX_PEOPLE = 5; // for each face
const page = document.querySelector(".identify");
const words = wordsOf(page);
const part = (name) => page.querySelector(`.${name}`);
const image = page.querySelector(".picture img");
const legend = part("legend").textContent;
const number = (value, digits) =>
  new Intl.NumberFormat(document.documentElement.lang, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(value);
let controller = null; // of the current request

page.hidden = false;
takeFiles(part("drop"), ([{ file }]) => identify(file));

async function identify(photo) {
  controller?.abort();
  controller = new AbortController();
  const { signal } = controller;
  part("problem").hidden = part("answer").hidden = part("steps").hidden = true;
  part("report").textContent = words.working;
  const form = new FormData();
  form.set("photo", photo, "photo");
  form.set("threshold", "-1"); // also people below the threshold
  form.set("top", String(MAX_PEOPLE));
  try {
    const onWait = (why) => (part("report").textContent = words[why]);
    const [answer, shown] = await Promise.all([post("/api/v1/identify", form, { signal, onWait }), show(photo)]);
    showAnswer(answer, shown);
  } catch (error) {
    if (error.name === "AbortError") return;
    part("report").textContent = "";
    showProblem(part("problem"), error, words);
  }
}

/** Loads the picture, and resolves to whether the browser can show it. */
function show(photo) {
  URL.revokeObjectURL(image.src);
  return new Promise((resolve) => {
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
    image.src = URL.createObjectURL(photo);
  });
}

function showAnswer({ faces, gallery_threshold: threshold }, shown) {
  const isAbove = ({ similarity }) => similarity >= threshold;
  const middle = ({ box }) => box.x + box.width / 2;
  // The response has the largest face first. The page numbers the faces from the left.
  const ordered = [...faces].sort((one, other) => middle(one) - middle(other));
  const found = ordered.map((face, index) => {
    const best = face.matches.find(isAbove);
    const name = best ? best.name : words.stranger;
    return { face, best, title: fill(words.face, { number: number(index + 1, 0), name }) };
  });
  const identified = found.filter(({ best }) => best).length;
  const summary = faces.length ? fill(words.found, { faces: faces.length, identified }) : words.no_face;
  part("report").textContent = shown ? summary : `${summary}. ${words.no_picture}`;
  part("picture").hidden = !shown;
  part("boxes").replaceChildren(...found.map(box));
  part("found").replaceChildren(...found.map((one) => section(one, threshold, isAbove, shown)));
  part("legend").textContent = fill(legend, { threshold: number(threshold, 3) });
  part("legend").hidden = !faces.length;
  part("answer").hidden = false;
}

function box({ face, best, title }, index) {
  const element = document.createElement("div");
  const { x, y, width, height } = face.box;
  const share = (value, whole) => `${(100 * value) / whole}%`;
  element.className = best ? "box known" : "box";
  Object.assign(element.style, {
    left: share(x, image.naturalWidth),
    top: share(y, image.naturalHeight),
    width: share(width, image.naturalWidth),
    height: share(height, image.naturalHeight),
  });
  // A box shows only its number, because names would cover each other and the picture.
  const label = document.createElement("span");
  label.textContent = number(index + 1, 0);
  element.append(label);
  element.title = title;
  return element;
}

function section({ face, best, title }, threshold, isAbove, shown) {
  const element = copy("of-face");
  const [above, below] = element.querySelectorAll(".candidates");
  const others = face.matches.filter((match) => !isAbove(match));
  const chip = element.querySelector(".chip");
  element.querySelector("h2").append(...(best ? linked(title, best) : [title]));
  element.classList.toggle("known", Boolean(best));
  chip.classList.toggle("good", Boolean(best));
  chip.textContent = best ? words.identified : face.matches.length ? words.not_identified : words.empty;
  if (best && best.confidence !== null) {
    element.querySelector(".confidence").textContent = fill(words.confidence, { value: number(Math.floor(best.confidence), 0) });
  }
  above.replaceChildren(...face.matches.filter(isAbove).map((match) => row(match, threshold, true)));
  if (best) above.querySelector(".who").textContent = words.similarity; // the name is in the heading
  below.replaceChildren(...others.map((match) => row(match, threshold, false)));
  element.querySelector("summary").textContent = fill(words.below, { count: number(others.length, 0) });
  element.querySelector("details").hidden = !others.length;
  if (shown) drawFace(element.querySelector("canvas"), face.box);
  else element.querySelector("canvas").hidden = true;
  return element;
}

/** Returns the heading of an identified face, with a link to the person. */
function linked(title, { user_id, name }) {
  const anchor = document.createElement("a");
  anchor.href = at(`/admin/people/${user_id}`);
  anchor.textContent = name;
  return [title.slice(0, -name.length), anchor];
}

/** Draws a face and its surroundings into a square. */
function drawFace(canvas, { x, y, width, height }) {
  const side = Math.max(width, height) * 1.5;
  const [left, top] = [x + width / 2 - side / 2, y + height / 2 - side / 2];
  canvas.getContext("2d").drawImage(image, left, top, side, side, 0, 0, canvas.width, canvas.height);
}

function row(match, threshold, above) {
  const element = copy("of-match");
  const bar = element.querySelector(".bar");
  const anchor = element.querySelector("a");
  const length = (similarity) => `${100 * Math.max(0, similarity)}%`;
  anchor.href = at(`/admin/people/${match.user_id}`);
  anchor.textContent = match.name;
  element.classList.toggle("above", above);
  element.querySelector(".number").textContent = number(match.similarity, 3);
  bar.firstElementChild.style.width = length(match.similarity);
  bar.style.setProperty("--threshold", length(threshold));
  return element;
}

function copy(name) {
  return page.querySelector(`template.${name}`).content.firstElementChild.cloneNode(true);
}

// The camera

const video = page.querySelector("video");
const camera = part("camera");

camera.addEventListener("click", async () => {
  part("problem").hidden = true;
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
    await video.play();
  } catch {
    part("report").textContent = words.no_camera;
    return;
  }
  part("report").textContent = "";
  part("viewfinder").hidden = false;
  camera.hidden = true;
  part("take").focus();
});

part("take").addEventListener("click", async () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  identify(await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92)));
});

part("stop").addEventListener("click", () => {
  stopCamera();
  camera.focus();
});
addEventListener("pagehide", stopCamera);

function stopCamera() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  part("viewfinder").hidden = true;
  camera.hidden = false;
}
