/* The token of this browser tab, on the pages and on the GraphQL page. */

// A link may carry the token after "#token=", which is not sent to the server; it is removed from the address bar and
// the history.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given !== null) {
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname + location.search);
}

export const token = (): string | undefined => sessionStorage.getItem("token") ?? undefined;

/** The headers of a request as the signed-in person. */
export function authorization(): Record<string, string> {
  const bearer = token();
  return bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
}

/** Accepts a token alone, or the line in which `insights start` and `insights token` print it. */
export function signIn(text: string): void {
  sessionStorage.setItem("token", text.trim().replace(/^.*#token=|^\w+: |^Bearer /, ""));
}

export const signOut = (): void => sessionStorage.removeItem("token");

export interface Session {
  role: "visitor" | "learner" | "instructor" | "analyst" | "admin" | "worker";
  person: string | null;
  /** Whether the server has a GraphQL page. */
  graphiql: boolean;
  /** The reason why the token is not accepted. */
  problem?: string;
}

const visitor: Session = { role: "visitor", person: null, graphiql: false };

/** The owner of the token, as the server describes it. */
export async function readSession(): Promise<Session> {
  const { errors, ...session } = await (await fetch("/me", { headers: authorization() })).json();
  const [error] = errors ?? [];
  if (error === undefined) return session;
  return { ...visitor, problem: [error.message, error.extensions?.hint].filter(Boolean).join(". ") };
}
