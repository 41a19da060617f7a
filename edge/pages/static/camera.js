// Taking a picture with the device's camera: look, take, keep or take again.

import { byId } from "/pages/dom.js";
import { t } from "/pages/i18n.js";

const WANTED = { video: { facingMode: "environment", width: { ideal: 2560 }, height: { ideal: 1440 } } };
const QUALITY = 0.92;

/** Resolves to a JPEG File, or null where the person gave up or there is no camera. */
export async function takePicture(name) {
  const dialog = byId("camera");
  const video = byId("camera-view");
  const still = byId("camera-still");
  const say = byId("camera-say");
  const [take, again, keep] = ["camera-take", "camera-again", "camera-keep"].map(byId);
  let stream = null;
  let taken = null;

  const look = () => {
    taken = null;
    video.hidden = false;
    still.hidden = true;
    again.hidden = keep.hidden = true;
    take.hidden = !stream;
  };
  const shoot = () => {
    still.width = video.videoWidth;
    still.height = video.videoHeight;
    still.getContext("2d").drawImage(video, 0, 0);
    video.hidden = take.hidden = true;
    still.hidden = again.hidden = keep.hidden = false;
    still.toBlob(
      (blob) => {
        taken = blob && new File([blob], name, { type: "image/jpeg" });
      },
      "image/jpeg",
      QUALITY,
    );
    keep.focus();
  };

  look();
  video.hidden = take.hidden = true;
  say.textContent = t("camera.starting");
  dialog.returnValue = "";
  dialog.showModal();
  const closed = new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  try {
    stream = await navigator.mediaDevices.getUserMedia(WANTED);
    if (dialog.open) {
      video.srcObject = stream;
      await video.play();
      say.textContent = t("camera.aim");
      look();
      take.focus();
    }
  } catch {
    // no camera, no permission, or a page that is not served from this machine and without TLS
    say.textContent = t("camera.none");
  }
  take.onclick = shoot;
  again.onclick = look;
  keep.onclick = () => dialog.close("keep");
  byId("camera-cancel").onclick = () => dialog.close("");
  await closed;
  for (const track of stream?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  return dialog.returnValue === "keep" ? taken : null;
}
