// Calls to this device's own API. Errors come as problem documents with four fields; all of them become `Problem`.

const KEY = `edgekit.token:${location.pathname}`; // a reviewer's is not the kiosk's

/** What a person is shown when a call fails. `code` is null where the device did not answer at all. */
export class Problem extends Error {
  constructor({ code = null, problem = "", state = "", remedy = "", status = 0 }) {
    super(problem);
    Object.assign(this, { code, problem, state, remedy, status });
  }

  get silent() {
    return this.status === 0;
  }
}

/** The token of this page in this tab; it is forgotten when the tab closes. */
export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/**
 * Call the device; resolves to the Response.
 * `body` may be FormData, a Blob, or a plain value that is sent as JSON.
 */
export async function call(path, { method = "GET", body, signal, extra = {} } = {}) {
  const headers = { Accept: "application/json", ...extra };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  const raw = body === undefined || body instanceof FormData || body instanceof Blob;
  if (!raw) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: raw ? body : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({});
  }
  if (!response.ok) throw new Problem({ ...(await described(response)), status: response.status });
  return response;
}

/** Call the device; resolves to the JSON of the answer. */
export async function json(path, options) {
  return (await call(path, options)).json();
}

async function described(response) {
  try {
    return await response.json();
  } catch {
    return { code: `HTTP-${response.status}`, problem: response.statusText };
  }
}
