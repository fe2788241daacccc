/* Cookies of this server. */

/** With the prefix, a browser accepts the cookie from this host only, over HTTPS: no subdomain can set another one. */
export const cookieName = (name: string, secure: boolean): string => `${secure ? "__Host-" : ""}insights_${name}`;

/** The header `Set-Cookie` of a cookie that no script reads. `seconds`: its lifetime; 0 removes it. */
export const setCookie = (name: string, value: string, seconds: number, secure: boolean): string =>
  `${cookieName(name, secure)}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure ? "; Secure" : ""}`;

/** The value of the first cookie of a name, from the header `Cookie`. */
export function readCookie(header: string | undefined, name: string): string | undefined {
  for (const cookie of header?.split(";") ?? []) {
    const [key = "", ...value] = cookie.split("=");
    if (key.trim() === name) return value.join("=").trim() || undefined;
  }
  return undefined;
}
