import { createHash } from "node:crypto";
import "postgraphile/grafserv/node";

/**
 * The GraphQL page (Ruru), with the sign-in scripts and a content security policy. Its inline scripts are allowed by
 * their hashes; its editor inserts style sheets at run time, which only 'unsafe-inline' allows.
 */
export const GraphiqlPlugin: GraphileConfig.Plugin = {
  name: "InsightsGraphiqlPlugin",
  version: "1.0.0",
  grafserv: {
    middleware: {
      async ruruHTML(next, { htmlParts, request }) {
        htmlParts.metaTags += '\n<link rel="icon" href="data:,">';
        htmlParts.headerScripts += '\n<script type="module" src="/graphiql.js"></script>';
        const html = await next();
        const hashes = [...html.matchAll(/<script[^>]*>([\s\S]*?)<\/script>/g)]
          .map(([, script = ""]) => script)
          .filter((script) => script !== "")
          .map((script) => `'sha256-${createHash("sha256").update(script).digest("base64")}'`);
        request.requestContext.node?.res.setHeader(
          "content-security-policy",
          `default-src 'none'; script-src 'self' ${hashes.join(" ")}; style-src 'self' 'unsafe-inline'; connect-src 'self'; ` +
            "font-src 'self' data:; img-src 'self' data:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        );
        return html;
      },
    },
  },
};
