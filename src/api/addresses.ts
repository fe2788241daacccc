import type { IncomingMessage } from "node:http";
import { BlockList, isIP, SocketAddress } from "node:net";

/*
 * The address of a client, for limits only; it is not stored. Behind a reverse proxy it is in `X-Forwarded-For`, to
 * which each proxy appends the address that it received the request from. Clients can send this header too, so that
 * only entries of trusted proxies count: read from the end, the first address that is not a trusted proxy is the
 * client's.
 */

/** Names of networks in INSIGHTS_TRUSTED_PROXIES. */
const networks: ReadonlyMap<string, readonly string[]> = new Map([
  ["loopback", ["127.0.0.0/8", "::1"]],
  ["linklocal", ["169.254.0.0/16", "fe80::/10"]],
  ["private", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]],
]);

/**
 * Parses a list such as `loopback, 10.1.0.0/16, 2001:db8::7`. Returns the first entry that is invalid instead of a list.
 * A network of all addresses is invalid: every client could then choose its address.
 */
export function parseProxies(text: string): BlockList | string {
  const list = new BlockList();
  for (const entry of text.split(",").map((part) => part.trim())) {
    for (const network of networks.get(entry) ?? [entry]) {
      const [, address = "", bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(network) ?? [];
      const version = isIP(address);
      const longest = version === 4 ? 32 : 128;
      const prefix = bits === undefined ? longest : Number(bits);
      if (version === 0 || prefix < 1 || prefix > longest) return entry;
      list.addSubnet(address, prefix, version === 4 ? "ipv4" : "ipv6");
    }
  }
  return list;
}

/** The usual form of an address, without zone and port; an IPv4 address that is mapped to IPv6 is IPv4. */
function parse(text: string): string | undefined {
  const [, bracketed, plain] = /^"?(?:\[([^\]]+)\](?::\d{1,5})?|([^\]["]+))"?$/.exec(text.trim()) ?? [];
  let address = (bracketed ?? plain ?? "").replace(/%.*$/, "");
  if (isIP(address) === 0) address = address.replace(/^([\d.]+):\d{1,5}$/, "$1");
  const version = isIP(address);
  if (version !== 6) return version === 4 ? address : undefined;
  const canonical = new SocketAddress({ address, family: "ipv6" }).address;
  return /^::ffff:([\d.]+)$/.exec(canonical)?.[1] ?? canonical;
}

/** An IPv6 client chooses among the addresses of its /64 network, so that the network counts as one client. */
function nameOf(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const last = tail === "" ? [] : tail.split(":");
    // An embedded IPv4 address, such as in ::1.2.3.4, stands for two groups.
    const length = last.length + (last.at(-1)?.includes(".") ? 1 : 0);
    while (groups.length + length < 8) groups.push("0");
    groups.push(...last);
  }
  return `${groups.slice(0, 4).join(":")}::/64`;
}

export interface Addresses {
  /** The name of the client's address: an IPv4 address, or an IPv6 network. */
  of(request: IncomingMessage): string;
  /** Whether a trusted proxy forwards the request, so that its connection is not the client's. */
  isForwarded(request: IncomingMessage): boolean;
  /** Scheme and host that the client used, if a trusted proxy reports them; else those of the connection. */
  target(request: IncomingMessage): { secure: boolean; host: string };
}

const contains = (list: BlockList | string, address: string): boolean =>
  typeof list !== "string" && list.check(address, address.includes(":") ? "ipv6" : "ipv4");

/** Peers that are more likely a proxy of one's own than a client. */
const nearby = parseProxies("loopback, private");

export function createAddresses(proxies: BlockList): Addresses {
  let warned = false;
  /** Without the setting, all clients behind a proxy count as one, which is easily overlooked. */
  const warn = (peer: string): void => {
    warned = true;
    console.error(
      `requests of ${peer} contain X-Forwarded-For, which is ignored: if it is your reverse proxy, ` +
        `set INSIGHTS_TRUSTED_PROXIES=${peer}, or all clients behind it are limited as one address`,
    );
  };

  const trusted = (address: string | undefined): boolean => address !== undefined && contains(proxies, address);
  /** The peer of a connection does not change. */
  const peers = new WeakMap<object, string | undefined>();
  const peerOf = ({ socket }: IncomingMessage): string | undefined => {
    if (peers.has(socket)) return peers.get(socket);
    const peer = parse(socket.remoteAddress ?? "");
    peers.set(socket, peer);
    return peer;
  };
  const first = (header: string | string[] | undefined): string | undefined =>
    String(header ?? "")
      .split(",", 1)[0]
      ?.trim() || undefined;

  return {
    of(request) {
      let nearest = peerOf(request);
      if (nearest === undefined) return "";
      const header = request.headers["x-forwarded-for"];
      let rest = trusted(nearest) ? String(header ?? "") : "";
      if (!warned && rest === "" && header !== undefined && contains(nearby, nearest)) warn(nearest);
      while (rest !== "") {
        const comma = rest.lastIndexOf(",");
        const address = parse(rest.slice(comma + 1));
        // An entry that is not an address is ignored: the proxy itself counts.
        if (address === undefined) break;
        nearest = address;
        if (comma < 0 || !trusted(address)) break;
        rest = rest.slice(0, comma);
      }
      return nameOf(nearest);
    },
    isForwarded: (request) => trusted(peerOf(request)),
    target(request) {
      const { headers } = request;
      const forwarded = trusted(peerOf(request));
      return {
        secure: forwarded && first(headers["x-forwarded-proto"])?.toLowerCase() === "https",
        host: ((forwarded ? first(headers["x-forwarded-host"]) : undefined) ?? headers.host ?? "").toLowerCase(),
      };
    },
  };
}
