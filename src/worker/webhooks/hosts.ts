import { BlockList, isIP } from "node:net";

/*
 * The addresses to which a webhook may be sent. A URL is given by an administrator, and the worker is inside the network:
 * without a check, it could be made to call the metadata service of the cloud, the database or a router. The address that
 * is connected to is checked, not the URL, so that no spelling of a name or an address matters.
 */

/**
 * Addresses that are not public: the registries of special-purpose addresses of IANA (RFC 6890 and its successors), with
 * multicast. Of IPv6, only 2000::/3 is assigned for public addresses.
 */
const notPublic4 = [
  "0.0.0.0/8", // this network; 0.0.0.0 connects to the machine itself
  "10.0.0.0/8",
  "100.64.0.0/10", // carrier-grade NAT
  "127.0.0.0/8",
  "169.254.0.0/16", // link-local, metadata services
  "172.16.0.0/12",
  "192.0.0.0/24", // protocol assignments
  "192.0.2.0/24", // documentation
  "192.31.196.0/24", // AS112
  "192.52.193.0/24", // AMT
  "192.88.99.0/24", // relays of 6to4
  "192.168.0.0/16",
  "192.175.48.0/24", // AS112
  "198.18.0.0/15", // benchmarks
  "198.51.100.0/24", // documentation
  "203.0.113.0/24", // documentation
  "224.0.0.0/4", // multicast
  "240.0.0.0/4", // reserved, and 255.255.255.255
];
const public6 = ["2000::/3"];
const notPublic6 = [
  "2001::/23", // protocol assignments: Teredo, benchmarks, ORCHID
  "2001:db8::/32", // documentation
  "2002::/16", // 6to4
  "2620:4f:8000::/48", // AS112
  "3fff::/20", // documentation
];

/**
 * Addresses that the name of a listed host may stand for: those of private networks. Others, such as link-local ones with
 * the metadata services, are permitted only if they are listed themselves.
 */
const privateNetworks = [
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "::1/128",
  "fc00::/7",
];

/** No connection reaches one receiver there. */
const never = ["0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/128", "ff00::/8"];

const family = (address: string): "ipv4" | "ipv6" => (isIP(address) === 4 ? "ipv4" : "ipv6");

/** Adds a network such as 10.0.0.0/8, or an address. False if it is neither. */
function add(list: BlockList, network: string): boolean {
  const [, address = "", bits] = /^([^/]+?)(?:\/(\d{1,3}))?$/.exec(network) ?? [];
  const longest = isIP(address) === 4 ? 32 : 128;
  const prefix = bits === undefined ? longest : Number(bits);
  if (isIP(address) === 0 || address.includes("%") || prefix < 1 || prefix > longest) return false;
  list.addSubnet(address, prefix, family(address));
  return true;
}

function networks(...lists: readonly string[][]): (address: string) => boolean {
  const list = new BlockList();
  for (const network of lists.flat()) add(list, network);
  return (address) => list.check(address, family(address));
}

const isNotPublic4 = networks(notPublic4);
const isGlobal6 = networks(public6);
const isNotPublic6 = networks(notPublic6);
const isPrivate = networks(privateNetworks);
const isNever = networks(never);

/**
 * The address that a connection reaches: an IPv4 address inside of an IPv6 one, as a mapped address (::ffff:0:0/96) or
 * behind NAT64 (64:ff9b::/96), is this IPv4 address. Undefined for another text.
 */
export function reached(address: string): string | undefined {
  if (isIP(address) === 4) return address;
  if (isIP(address) !== 6 || address.includes("%")) return undefined;
  // The form of URLs: hexadecimal groups, the longest run of zeros shortened.
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  if (canonical === "64:ff9b::") return "0.0.0.0";
  const [, high, low] =
    /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(canonical) ??
    /^64:ff9b::(?:([\da-f]{1,4}):)?([\da-f]{1,4})$/.exec(canonical) ??
    [];
  if (low === undefined) return canonical;
  const bits = Number.parseInt(high ?? "0", 16) * 65_536 + Number.parseInt(low, 16);
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join(".");
}

/** Whether an address is one of the public internet. */
export function isPublic(address: string): boolean {
  const target = reached(address);
  if (target === undefined) return false;
  return isIP(target) === 4 ? !isNotPublic4(target) : isGlobal6(target) && !isNotPublic6(target);
}

/** A name as it is compared: lower case, without the dot at its end, an IPv6 address without brackets. */
const canonicalName = (name: string): string => {
  const lower = name.toLowerCase().replace(/\.$/, "");
  return lower.startsWith("[") && isIP(lower.slice(1, -1)) === 6 ? lower.slice(1, -1) : lower;
};

/** The receivers that may have a private address, or be called without TLS. */
export interface Hosts {
  /** Whether an address may be connected to, for a host and port of a URL. */
  permits(hostname: string, port: number, address: string): boolean;
  /** Whether the URL of the host may be `http`. */
  permitsPlain(hostname: string, port: number, address: string): boolean;
}

/**
 * Parses a list such as `alerts.internal, alerts.internal:8080, 10.1.2.3:9000, [fd00::7]:9000, 10.1.0.0/16`: names and
 * addresses, each with a port or for all ports, and networks. Returns the first entry that is invalid instead.
 */
export function parseHosts(text: string): Hosts | string {
  const names = new Set<string>();
  const addresses = new Map<string, BlockList>();
  const listed = (port: string): BlockList => {
    const list = addresses.get(port) ?? new BlockList();
    addresses.set(port, list);
    return list;
  };
  for (const entry of text.split(",").map((part) => part.trim())) {
    if (entry === "") continue;
    if (add(listed(""), entry)) continue;
    const [, host = "", port = ""] = /^(\[[^\]]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(entry) ?? [];
    const name = canonicalName(host);
    if (Number(port) > 65_535 || port === "0") return entry;
    if (isIP(name) !== 0) {
      if (!add(listed(port), name)) return entry;
    } else if (
      /^(?=.{1,253}$)(?!(.*\.)?\d+$)[a-z\d_]([a-z\d_-]*[a-z\d_])?(\.[a-z\d_]([a-z\d_-]*[a-z\d_])?)*$/.test(name)
    ) {
      names.add(port === "" ? name : `${name}:${port}`);
    } else return entry;
  }

  const isListedName = (hostname: string, port: number): boolean => {
    const name = canonicalName(hostname);
    return names.has(name) || names.has(`${name}:${port}`);
  };
  const isListedAddress = (address: string, port: number): boolean =>
    ["", String(port)].some((key) => addresses.get(key)?.check(address, family(address)) === true);
  return {
    permits(hostname, port, address) {
      const target = reached(address);
      if (target === undefined || isNever(target)) return false;
      if (isPublic(target) || isListedAddress(target, port)) return true;
      return isListedName(hostname, port) && isPrivate(target);
    },
    permitsPlain(hostname, port, address) {
      const target = reached(address);
      return target !== undefined && (isListedName(hostname, port) || isListedAddress(target, port));
    },
  };
}

/** Without a list: public addresses, by https. */
export const publicHosts = parseHosts("") as Hosts;
