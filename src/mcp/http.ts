import type { IncomingMessage, ServerResponse } from "node:http";
import { BlockList } from "node:net";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import type pg from "pg";
import { createAddresses } from "../api/addresses.ts";
import { createAdmission, RateError } from "../api/admission.ts";
import { AuthenticationError, createAuthenticate } from "../api/authentication.ts";
import { createBodies, TooLargeError } from "../api/bodies.ts";
import { BusyError } from "../api/connections.ts";
import { createKeys } from "../api/keys.ts";
import { checkJson, limits } from "../api/limits.ts";
import { answer, busy, type Handle, problem, refuse } from "../api/listener.ts";
import { createRunAs } from "../api/run-as.ts";
import { authenticationOptions } from "../api/server.ts";
import type { Config } from "../config.ts";
import type { Mcp } from "./server.ts";

/*
 * Streamable HTTP without sessions: each request has its token, and is answered with JSON. A page of a browser may call
 * it only from the origins of INSIGHTS_ORIGINS, so that no site reaches a server on its visitor's machine by a name that it
 * points there.
 */

export const mcpPath = "/mcp";

export async function createHandle(config: Config, pool: pg.Pool, mcp: Mcp): Promise<Handle> {
  const { origins } = config;
  const admission = createAdmission(
    config,
    createAuthenticate(await authenticationOptions(config)),
    createAddresses(config.trustedProxies ?? new BlockList()),
    createKeys(createRunAs(pool, 5000)),
  );
  const bodies = createBodies({ visitor: config.visitorBytes, learner: config.learnerBytes, others: limits.bytes });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "/").split("?", 1)[0];
    if (path !== mcpPath) {
      refuse(request, response, 404, problem("this address does not exist", "CF002", `Send requests to ${mcpPath}.`));
      return;
    }
    const { origin } = request.headers;
    if (origin !== undefined && !origins?.has(origin)) {
      const message = `pages of ${origin.slice(0, 100)} may not call this server`;
      refuse(request, response, 403, problem(message, "42501", "Add the origin to INSIGHTS_ORIGINS."));
      return;
    }
    if (request.method !== "POST") {
      response.setHeader("allow", "POST");
      refuse(request, response, 405, problem("requests are sent by POST", "CF002", "There are no sessions here."));
      return;
    }
    const { sender, key } = await admission.admit(request);
    const { role, person, address } = sender;
    const body = await bodies.read(request, response, { role, person, address, server: key?.level === "server" });
    let message: unknown;
    try {
      checkJson(body);
      message = JSON.parse(body.toString("utf8"));
    } catch {
      answer(response, 400, problem("the body is not JSON, or too large", "CF009", "Send one message of JSON-RPC."));
      return;
    }
    if (Array.isArray(message)) {
      answer(response, 400, problem("the body is a list of messages", "CF009", "Send one message per request."));
      return;
    }
    const server = mcp.connect(() => sender);
    const transport = new StreamableHTTPServerTransport({ enableJsonResponse: true });
    response.once("close", () => void server.close());
    // The interface of transports and this class differ under exactOptionalPropertyTypes.
    await server.connect(transport as Parameters<typeof server.connect>[0]);
    await transport.handleRequest(request, response, message);
  }

  return async (request, response) => {
    try {
      await handle(request, response);
    } catch (error) {
      if (error instanceof BusyError) busy(response);
      else if (error instanceof TooLargeError)
        refuse(request, response, 413, problem(error.message, error.code, error.hint));
      else if (error instanceof AuthenticationError || error instanceof RateError) {
        if (error.statusCode === 401) response.setHeader("www-authenticate", "Bearer");
        if (error instanceof RateError) response.setHeader("retry-after", error.retryAfter);
        refuse(request, response, error.statusCode, problem(error.message, error.code, error.hint));
      } else throw error;
    }
  };
}
