import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readConfig } from "../../../src/config.ts";
import { type Hosts, isPublic, parseHosts, publicHosts, reached } from "../../../src/worker/webhooks/hosts.ts";
import { runs } from "../../support/runs.ts";

const hosts = (text: string): Hosts => {
  const parsed = parseHosts(text);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
};

/** Integer arithmetic on addresses, without the code under test. */
const toNumber4 = (text: string): number => text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
const toText4 = (value: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");

/**
 * IANA IPv4 Special-Purpose Address Registry, and multicast: https://www.iana.org/assignments/iana-ipv4-special-registry.
 * Each network that is not globally reachable, or not that of a host, with its bits.
 */
const special4: [string, number][] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.31.196.0", 24],
  ["192.52.193.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["192.175.48.0", 24],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
];

const isSpecial4 = (value: number): boolean =>
  special4.some(([start, bits]) => {
    const begin = toNumber4(start);
    return value >= begin && value < begin + 2 ** (32 - bits);
  });

describe("IPv4", () => {
  test("the edges of each special network, and its neighbours", () => {
    for (const [start, bits] of special4) {
      const begin = toNumber4(start);
      const end = begin + 2 ** (32 - bits) - 1;
      for (const value of [begin - 1, begin, begin + 1, end - 1, end, end + 1]) {
        if (value < 0 || value > 4_294_967_295) continue;
        expect([toText4(value), isPublic(toText4(value))]).toEqual([toText4(value), !isSpecial4(value)]);
      }
    }
  });

  test("any address, also inside of an IPv6 one", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_294_967_295 }), (value) => {
        const text = toText4(value);
        const hex = `${Math.floor(value / 65_536).toString(16)}:${(value % 65_536).toString(16)}`;
        const expected = !isSpecial4(value);
        for (const form of [text, `::ffff:${text}`, `::ffff:${hex}`, `64:ff9b::${hex}`, `0:0:0:0:0:FFFF:${text}`]) {
          expect([form, reached(form), isPublic(form)]).toEqual([form, text, expected]);
        }
      }),
      { numRuns: runs(300, 300, true) },
    );
  });
});

describe("IPv6", () => {
  test.each([
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "3ffe::1",
    "2620:4f:7fff:ffff::1",
    "2620:4f:8001::1",
  ])("%s is public", (address) => {
    expect(isPublic(address)).toBe(true);
  });

  test.each([
    ["unspecified", "::"],
    ["loopback", "::1"],
    ["compatible with IPv4", "::8.8.8.8"],
    ["translated", "::ffff:0:8.8.8.8"],
    ["local NAT64", "64:ff9b:1::808:808"],
    ["NAT64 of a private address", "64:ff9b::a00:1"],
    ["NAT64 of this machine", "64:ff9b::"],
    ["discard", "100::1"],
    ["Teredo", "2001::1"],
    ["Teredo, another server", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    ["benchmarks", "2001:2::1"],
    ["ORCHID", "2001:10::1"],
    ["ORCHIDv2", "2001:20::1"],
    ["the last of the protocol assignments", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"],
    ["documentation", "2001:db8::1"],
    ["new documentation", "3fff::1"],
    ["the last of the new documentation", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"],
    ["6to4 of a private address", "2002:a00:1::1"],
    ["6to4 of a public address", "2002:808:808::1"],
    ["AS112", "2620:4f:8000::1"],
    ["segment routing", "5f00::1"],
    ["not assigned", "4000::1"],
    ["unique local", "fc00::1"],
    ["unique local", "fd00:ec2::254"],
    ["link-local", "fe80::1"],
    ["link-local with a zone", "fe80::1%eth0"],
    ["a zone of a public address", "2606:4700:4700::1111%1"],
    ["site-local", "fec0::1"],
    ["multicast", "ff02::1"],
    ["the last one", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    ["no address", "localhost"],
    ["nothing", ""],
    ["a short IPv4 address", "127.1"],
  ])("%s is not public: %s", (_name, address) => {
    expect(isPublic(address)).toBe(false);
  });
});

describe("INSIGHTS_WEBHOOK_HOSTS", () => {
  test("without it, only public addresses, by https", () => {
    const { webhookHosts } = readConfig({});
    expect(webhookHosts.permits("receiver.example", 443, "8.8.8.8")).toBe(true);
    expect(webhookHosts.permitsPlain("receiver.example", 80, "8.8.8.8")).toBe(false);
    expect(webhookHosts.permits("localhost", 443, "127.0.0.1")).toBe(false);
    expect(publicHosts.permits("10.0.0.1", 443, "10.0.0.1")).toBe(false);
  });

  test("a name may stand for addresses of private networks, in any spelling", () => {
    const listed = hosts("Alerts.Internal, other.internal:8080");
    for (const address of ["10.1.2.3", "127.0.0.1", "::1", "fd00::7", "100.64.0.1", "::ffff:10.1.2.3", "8.8.8.8"]) {
      expect(listed.permits("alerts.internal.", 443, address)).toBe(true);
      expect(listed.permitsPlain("ALERTS.internal", 80, address)).toBe(true);
    }
    expect(listed.permits("other.internal", 8080, "10.0.0.1")).toBe(true);
    expect(listed.permits("other.internal", 8081, "10.0.0.1")).toBe(false);
    expect(listed.permits("alerts.internal.evil.example", 443, "10.0.0.1")).toBe(false);
    expect(listed.permits("x.alerts.internal", 443, "10.0.0.1")).toBe(false);
  });

  test("a name does not stand for the metadata service of a cloud, another special address or all machines", () => {
    const listed = hosts("alerts.internal");
    const addresses = [
      "169.254.169.254",
      "fe80::1",
      "0.0.0.0",
      "::",
      "255.255.255.255",
      "224.0.0.1",
      "ff02::1",
      "2002:a00:1::1",
    ];
    for (const address of addresses)
      expect([address, listed.permits("alerts.internal", 443, address)]).toEqual([address, false]);
  });

  test("addresses and networks are listed as they are", () => {
    const listed = hosts("10.1.2.3:9000, [fd00::7]:9000, 192.168.7.0/24, 169.254.1.1, fd00:1::/32, [::1], ");
    expect(listed.permits("anything.example", 9000, "10.1.2.3")).toBe(true);
    expect(listed.permits("anything.example", 9000, "::ffff:10.1.2.3")).toBe(true);
    expect(listed.permits("anything.example", 443, "10.1.2.3")).toBe(false);
    expect(listed.permits("10.1.2.4", 9000, "10.1.2.4")).toBe(false);
    expect(listed.permits("[fd00::7]", 9000, "fd00::7")).toBe(true);
    expect(listed.permits("[fd00::7]", 9001, "fd00::7")).toBe(false);
    expect(listed.permits("x.example", 1, "192.168.7.255")).toBe(true);
    expect(listed.permits("x.example", 1, "192.168.8.0")).toBe(false);
    expect(listed.permits("x.example", 1, "169.254.1.1")).toBe(true);
    expect(listed.permits("x.example", 1, "fd00:1:ffff::")).toBe(true);
    expect(listed.permits("x.example", 1, "::1")).toBe(true);
    expect(listed.permitsPlain("x.example", 1, "::1")).toBe(true);
    expect(listed.permitsPlain("x.example", 1, "::2")).toBe(false);
  });

  test("a network never includes addresses that are not those of one host", () => {
    const listed = hosts("0.0.0.0/1, 128.0.0.0/1, ff00::/8, 8000::/1");
    for (const address of ["0.0.0.0", "224.0.0.1", "255.255.255.255", "ff02::1"]) {
      expect([address, listed.permits("x.example", 443, address)]).toEqual([address, false]);
    }
    expect(listed.permits("x.example", 443, "10.0.0.1")).toBe(true);
  });

  test.each([
    "https://alerts.internal",
    "alerts.internal/path",
    "user@alerts.internal",
    "*.internal",
    "alerts.internal:0",
    "alerts.internal:70000",
    "10.0.0.0/0",
    "10.0.0.0/33",
    "10.0.0.0/8:80",
    "10.1.2",
    "2130706433",
    "[alerts.internal]",
    "fe80::1%eth0",
    "a b",
    "a..b",
    `${"a".repeat(254)}`,
  ])("an entry that is not valid is refused: %s", (entry) => {
    expect(parseHosts(`ok.internal, ${entry}`)).toBe(entry);
    expect(() => readConfig({ INSIGHTS_WEBHOOK_HOSTS: entry })).toThrow(
      /^INSIGHTS_WEBHOOK_HOSTS is .*: expected names/,
    );
  });
});
