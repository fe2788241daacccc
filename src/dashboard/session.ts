/*
 * The signed-in person. The token of this browser tab is in its session storage, or in memory where another site
 * contains the page; without one, the server reads the cookie of a session.
 */

/** The page that another site contains, at /embed/<view>. */
export const embeddedView = /^\/embed\/([a-z-]+)$/.exec(location.pathname)?.[1];

/** A page within another site never uses the cookies of this one. */
export const credentials: RequestCredentials = embeddedView === undefined ? "same-origin" : "omit";

let inMemory: string | undefined;

const fragment = new URLSearchParams(location.hash.slice(1));

// A link may carry the token after "#token=", which is not sent to the server; it is removed from the address bar and
// the history.
const given = fragment.get("token");
if (embeddedView === undefined && given !== null) sessionStorage.setItem("token", given);

/** The result of a sign-in by OpenID Connect, if it did not succeed. */
const failure = fragment.get("sign-in");
if (given !== null || failure !== null) history.replaceState(null, "", location.pathname + location.search);

export const token = (): string | undefined =>
  embeddedView === undefined ? (sessionStorage.getItem("token") ?? undefined) : inMemory;

/** The headers of a request as the signed-in person. */
export function authorization(): Record<string, string> {
  const bearer = token();
  return bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
}

/** Accepts a token alone, or the line in which `insights start` and `insights token` print it. */
export function signIn(text: string): void {
  const bare = text.trim().replace(/^.*#token=|^\w+: |^Bearer /, "");
  if (embeddedView === undefined) sessionStorage.setItem("token", bare);
  else inMemory = bare;
}

/** Deletes the token, or ends a session; the provider of OpenID Connect then ends its own. */
export async function signOut(): Promise<void> {
  const hadToken = token() !== undefined;
  sessionStorage.removeItem("token");
  if (hadToken) return;
  const response = await fetch("/sign-out", { method: "POST", headers: { "content-type": "application/json" } });
  const { to } = (await response.json()) as { to?: string | null };
  if (to) location.assign(to);
}

export interface Session {
  role: "visitor" | "learner" | "instructor" | "analyst" | "admin" | "worker";
  person: string | null;
  /** The only page of the token. */
  view?: string;
  /** Whether the server has a GraphQL page. */
  graphiql: boolean;
  /** Whether people sign in by OpenID Connect. */
  openId: boolean;
  /** Origins that may contain pages, and hand over tokens. */
  embedOrigins: string[];
  /** The reason why the token is not accepted. */
  problem?: string;
}

const read = async (headers: Record<string, string>, sent: RequestCredentials) =>
  (await fetch("/me", { headers, credentials: sent })).json();

/** The owner of the token or the session, as the server describes it. */
export async function readSession(): Promise<Session> {
  const { errors, ...session } = await read(authorization(), credentials);
  const [error] = errors ?? [];
  if (error === undefined) return session;
  const visitor = await read({}, "omit");
  return { ...visitor, problem: [error.message, error.extensions?.hint].filter(Boolean).join(". ") };
}

/** Why a sign-in by OpenID Connect did not succeed, once. */
export const signInFailure = failure === "role" || failure === "unreachable" ? failure : failure && "failed";

/*
 * A session ends while a page is open: the request that was refused waits until the same person has signed in again, and
 * is then repeated. It was not executed, and nothing that was typed is lost.
 */

let renewal: { done: Promise<boolean>; settle: (isSame: boolean) => void } | undefined;
let report: () => void = () => {};

/** Calls the function when a session ends. */
export function onSessionEnd(listener: () => void): void {
  report = listener;
}

/** Resolves, after the next sign-in, to whether it is the same person. */
export function signedInAgain(): Promise<boolean> {
  if (renewal === undefined) {
    let settle: (isSame: boolean) => void = () => {};
    const done = new Promise<boolean>((resolve) => {
      settle = resolve;
    });
    renewal = { done, settle };
    report();
  }
  return renewal.done;
}

export function resume(isSame: boolean): void {
  renewal?.settle(isSame);
  renewal = undefined;
}
