// Sends the frames of a liveness session, which is good for one run.

import { offer, post } from "./challenge.js";

const form = document.getElementById("who");
const path = `/api/v1/liveness/${form.dataset.session}`;

let pose = "centre"; // the first one of every session

offer({
  async start() {
    return pose; // a person who has cancelled the check can go on
  },
  ask(frame, signal) {
    const data = new FormData();
    data.append("frame", frame, "frame.jpg");
    return post(`${path}/hint`, data, signal);
  },
  async send(frames, signal) {
    const data = new FormData();
    frames.forEach((frame, number) => data.append("frames", frame, `${number}.jpg`));
    const answer = await post(path, data, signal);
    pose = (await answer.clone().json()).pose;
    return answer;
  },
  finish() {
    document.getElementById("stage").hidden = true;
    const ended = document.getElementById("ended");
    ended.hidden = false;
    ended.focus();
  },
});
