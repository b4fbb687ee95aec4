// Requests to the server, which answers with JSON or a sentence in "detail".

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer; does `mrb web` still run?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(typeof answer.detail === "string" ? answer.detail : `The server failed (${response.status}).`);
  }
  return answer;
}

export const ask = (path, parameters, body, signal) =>
  request(`${path}?${new URLSearchParams(parameters)}`, { method: body ? "POST" : "GET", body, signal });

// A request that tells how far it is, and that `signal` ends on the server too.
export async function askWithProgress(path, parameters, body, signal, onProgress) {
  const job = Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("-");
  const address = `/api/jobs/${job}`;
  const cancel = () => fetch(address, { method: "DELETE", keepalive: true }).catch(() => {});
  signal.addEventListener("abort", cancel, { once: true });
  const timer = setInterval(() => request(address, { signal }).then(onProgress, () => {}), 400);
  try {
    return await ask(path, { ...parameters, job }, body, signal);
  } finally {
    clearInterval(timer);
    signal.removeEventListener("abort", cancel);
  }
}
