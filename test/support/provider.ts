import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import Provider from "oidc-provider";
import { afterAll } from "vitest";

/* A provider of OpenID Connect on this machine: people who sign in choose a name, and gets the claims of this name. */

export interface TestProvider {
  issuer: string;
  clientId: string;
  clientSecret: string;
  /** The claims of each name. */
  people: Map<string, Record<string, unknown>>;
  /** The addresses to which the provider may send people back. */
  allow(origin: string): void;
  close(): Promise<void>;
}

export async function openProvider(): Promise<TestProvider> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const people = new Map<string, Record<string, unknown>>();
  const redirects: string[] = ["https://insights.example/sign-in/callback"];
  const ends: string[] = [];
  const [clientId, clientSecret] = ["insights", "a secret of the client for tests"];
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: clientId,
        client_secret: clientSecret,
        redirect_uris: redirects,
        post_logout_redirect_uris: ends,
        response_types: ["code"],
        grant_types: ["authorization_code"],
      },
    ],
    // Claims are in the ID token.
    conformIdTokenClaims: false,
    claims: { openid: ["sub", "groups", "name"] },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: true } },
    cookies: { keys: ["a key for tests"] },
    interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, ...people.get(id) }) }),
    // Consent is given beforehand.
    loadExistingGrant: async ({ oidc }) => {
      const grant = new provider.Grant({ clientId, accountId: oidc.session?.accountId ?? "" });
      grant.addOIDCScope("openid");
      await grant.save();
      return grant;
    },
  });
  const find = provider.Client.find.bind(provider.Client);
  provider.Client.find = async (id) => {
    const client = await find(id);
    if (client !== undefined) Object.assign(client, { redirectUris: redirects, postLogoutRedirectUris: ends });
    return client;
  };
  const callback = provider.callback();
  server.on("request", (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", issuer);
    if (!pathname.startsWith("/interaction/")) {
      callback(request, response);
      return;
    }
    const login = searchParams.get("login");
    if (login !== null) {
      void provider.interactionFinished(request, response, { login: { accountId: login } });
      return;
    }
    response.setHeader("content-type", "text/html");
    response.end(`<h1>Provider</h1><form><label>Name <input name="login"></label><button>Continue</button></form>`);
  });
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  afterAll(close);
  return {
    issuer,
    clientId,
    clientSecret,
    people,
    allow(origin) {
      redirects.push(`${origin}/sign-in/callback`);
      ends.push(`${origin}/`);
    },
    close,
  };
}
