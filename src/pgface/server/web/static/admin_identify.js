// Who is in a photo? The answer is drawn over the picture, which stays in the browser, and told as tables.

const version = new URL(import.meta.url).search;
const { at, fill, post, showProblem, wordsOf } = await import(`./admin_send.js${version}`);
const { takeFiles } = await import(`./admin_drop.js${version}`);

const BEST = 5; // people shown for each face
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
let asking = null;

page.hidden = false;
takeFiles(part("drop"), ([{ file }]) => identify(file));

async function identify(photo) {
  asking?.abort(); // only the last one counts
  asking = new AbortController();
  const { signal } = asking;
  part("problem").hidden = part("answer").hidden = true;
  part("report").textContent = words.working;
  const form = new FormData();
  form.set("photo", photo, "photo");
  form.set("threshold", "-1"); // also who does not count
  form.set("top", String(BEST));
  try {
    const onWait = (why) => (part("report").textContent = words[why]);
    const [answer, shown] = await Promise.all([post("/api/v1/identify", form, { signal, onWait }), show(photo)]);
    tell(answer, shown);
  } catch (error) {
    if (error.name === "AbortError") return;
    part("report").textContent = "";
    showProblem(part("problem"), error, words);
  }
}

/** Load the picture; whether the browser can. */
function show(photo) {
  URL.revokeObjectURL(image.src);
  return new Promise((resolve) => {
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
    image.src = URL.createObjectURL(photo);
  });
}

function tell({ faces, gallery_threshold: threshold }, shown) {
  const counts = ({ similarity }) => similarity >= threshold;
  const found = faces.map((face, index) => {
    const best = face.matches.find(counts);
    const title = fill(words.face, { number: number(index + 1, 0) });
    return { face, best, title };
  });
  const identified = found.filter(({ best }) => best).length;
  const summary = faces.length ? fill(words.found, { faces: faces.length, identified }) : words.no_face;
  part("report").textContent = shown ? summary : `${summary}. ${words.no_picture}`;
  part("picture").hidden = !shown;
  part("boxes").replaceChildren(...found.map(box));
  part("found").replaceChildren(...found.map((one) => section(one, threshold, counts)));
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
  const label = document.createElement("span");
  label.textContent = best ? `${number(index + 1, 0)} ${best.name}` : number(index + 1, 0);
  element.append(label);
  element.title = best ? best.name : title;
  return element;
}

function section({ face, best, title }, threshold, counts) {
  const element = copy("of-face");
  element.querySelector("h2").textContent = `${title}: ${best ? best.name : words.stranger}`;
  element.classList.toggle("known", Boolean(best));
  const rows = face.matches.map((match) => row(match, threshold, counts(match)));
  element.querySelector("tbody").replaceChildren(...rows);
  if (!rows.length) element.querySelector(".scroll").textContent = words.nobody;
  return element;
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
  element.querySelector(".verdict").textContent = above ? words.counts : words.below;
  element.querySelector(".confidence").textContent = match.confidence === null ? "–" : `${number(match.confidence, 0)} %`;
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
