// Logging in by face: helps somebody to their place, records while the head turns as it is asked to, sends all at once.

import { close, light, next, open, pause, picture, say, word } from "./camera.js";

const EVERY = 100; // milliseconds from picture to picture at least: the server wants to see every part of a turn
const FRAMES = { begin: 8, turn: 16, end: 16 }; // with four turns 88 pictures; the server takes 100
const FRAME_SIDE = 360; // pixels of the shorter side: some 480 wide
const GLIMPSE_SIDE = 240;
const BETWEEN_HINTS = 300; // milliseconds
const HINTS_AWAY = 2000; // milliseconds until they are asked for again
const GOOD_HINTS = 2; // in a row, before the recording begins by itself

const $ = (id) => document.getElementById(id);
const [form, stage, video, saying, progress, result] = ["who", "stage", "camera", "say", "progress", "result"].map($);

let cancelled = null; // an AbortController while something is under way

function showForm() {
  close(video);
  stage.hidden = true;
  stage.dataset.turn = "";
  form.hidden = false;
}

function showResult(text) {
  showForm();
  result.textContent = text;
  result.hidden = false;
  result.focus();
}

async function challenge(signal) {
  const answer = await fetch("/api/v1/auth/challenge", { method: "POST", signal });
  if (!answer.ok) {
    throw new Error("busy");
  }
  return answer.json();
}

async function hint(token, signal) {
  const glimpse = new FormData();
  glimpse.append("challenge", token);
  glimpse.append("frame", await picture(video, GLIMPSE_SIDE, 0.8), "glimpse.jpg");
  try {
    const answer = await fetch("/api/v1/auth/hint", { method: "POST", body: glimpse, signal });
    if (answer.status === 422) {
      return "expired";
    }
    return answer.ok ? (await answer.json()).hint : null;
  } catch {
    signal.throwIfAborted();
    return null;
  }
}

// Until somebody is in their place, or says that they are; hints come from the server, and not always.
async function position(signal) {
  let ready = false;
  $("start").onclick = () => {
    ready = true;
  };
  let { token } = await challenge(signal);
  await open(video);
  $("start").hidden = false;
  say(saying, word("guide"));
  for (let good = 0; !ready && good < GOOD_HINTS && !signal.aborted; ) {
    const told = await hint(token, signal);
    if (told === "expired") {
      ({ token } = await challenge(signal));
      continue;
    }
    const where = told === "ok" ? "ok" : (light(video) ?? told ?? "guide");
    say(saying, word(where));
    stage.classList.toggle("good", where === "ok");
    good = where === "ok" ? good + 1 : 0;
    for (let waited = 0; !ready && waited < (told ? BETWEEN_HINTS : HINTS_AWAY); waited += 50) {
      await pause(50);
    }
  }
  $("start").hidden = true;
}

// By the number of pictures and not by the clock, so that there are enough of each turn where all is slow.
async function record(turns, signal) {
  const parts = [
    ["centre", FRAMES.begin],
    ...turns.map((turn) => [turn, FRAMES.turn]),
    ["back", FRAMES.end],
  ];
  const all = parts.reduce((sum, [, count]) => sum + count, 0);
  const frames = [];
  for (const [turn, count] of parts) {
    say(saying, word(`turn-${turn}`));
    stage.dataset.turn = turn; // shows the arrow
    for (let i = 0; i < count; i += 1) {
      signal.throwIfAborted();
      const wait = pause(EVERY);
      await next(video);
      frames.push(await picture(video, FRAME_SIDE));
      progress.value = (100 * frames.length) / all;
      await wait;
    }
  }
  return frames;
}

async function send(token, frames, signal) {
  const answer = new FormData();
  answer.append("challenge", token);
  answer.append("next", form.dataset.next);
  for (const [name, value] of new FormData(form)) {
    answer.append(name, value);
  }
  frames.forEach((frame, number) => answer.append("frames", frame, `${number}.jpg`));
  return fetch("/login/face", { method: "POST", body: answer, signal });
}

async function finish(answer) {
  if (answer.ok) {
    say(saying, word("done"));
    location.assign((await answer.json()).next);
  } else if (answer.status === 429) {
    const seconds = answer.headers.get("Retry-After");
    showResult(seconds === "1" ? word("wait-one") : word("wait").replace("{}", seconds));
  } else {
    showResult(word(answer.status === 401 || answer.status === 422 ? "refused" : "busy"));
  }
}

async function logIn(signal) {
  await position(signal);
  signal.throwIfAborted();
  // A new challenge, whose time begins now; and what the camera saw before is not a part of the answer.
  stage.classList.remove("good");
  const { token, turns } = await challenge(signal);
  await open(video);
  const frames = await record(turns, signal);
  close(video);
  stage.dataset.turn = "";
  say(saying, word("checking"));
  progress.removeAttribute("value");
  await finish(await send(token, frames, signal));
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  result.hidden = true;
  form.hidden = true;
  stage.hidden = false;
  progress.value = 0;
  say(saying, word("opening"));
  saying.focus();
  cancelled = new AbortController();
  const { signal } = cancelled;
  try {
    await logIn(signal);
  } catch (error) {
    if (signal.aborted) {
      showForm();
      $("begin").focus();
    } else {
      showResult(word(["denied", "missing", "insecure"].includes(error.message) ? error.message : "busy"));
    }
  }
});

$("cancel").addEventListener("click", () => cancelled?.abort());
window.addEventListener("pagehide", () => close(video));

form.hidden = false;
