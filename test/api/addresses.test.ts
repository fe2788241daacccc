import type { IncomingMessage } from "node:http";
import { BlockList } from "node:net";
import { describe, expect, test, vi } from "vitest";
import { createAddresses, parseProxies } from "../../src/api/addresses.ts";
import { readConfig } from "../../src/config.ts";

const trusting = (text: string): ReturnType<typeof createAddresses> => {
  const list = parseProxies(text);
  if (typeof list === "string") throw new Error(list);
  return createAddresses(list);
};

/** A request from a peer, with headers as Node combines them. */
const request = (remoteAddress: string | undefined, headers: Record<string, string> = {}): IncomingMessage =>
  ({ socket: { remoteAddress }, headers }) as unknown as IncomingMessage;

const forwarded = (peer: string, header: string): IncomingMessage => request(peer, { "x-forwarded-for": header });

describe("the address of a client", () => {
  const proxies = trusting("loopback, private, 2001:db8:ffff::/48, 198.51.100.7");

  test.each([
    ["is the peer's without a proxy", "203.0.113.5", "", "203.0.113.5"],
    ["is the peer's when it is not a trusted proxy, whatever it sends", "203.0.113.5", "192.0.2.1", "203.0.113.5"],
    ["is what a trusted proxy appended", "127.0.0.1", "192.0.2.1", "192.0.2.1"],
    ["is the last that is not a trusted proxy", "10.0.0.1", "192.0.2.66, 192.0.2.1, 10.9.9.9, ::1", "192.0.2.1"],
    ["is not one that the client sent itself", "127.0.0.1", "10.0.0.1, 127.0.0.1, 192.0.2.1", "192.0.2.1"],
    ["is the first proxy's when all are proxies", "127.0.0.1", "10.0.0.5, 10.0.0.6", "10.0.0.5"],
    ["ends at garbage", "127.0.0.1", "192.0.2.1, unknown, 10.0.0.3", "10.0.0.3"],
    ["ends at nothing", "127.0.0.1", "192.0.2.1,", "127.0.0.1"],
    ["is not an invalid address", "127.0.0.1", "999.1.1.1", "127.0.0.1"],
    ["may have a port", "127.0.0.1", "192.0.2.1:4711", "192.0.2.1"],
    ["may be IPv6 with a port", "127.0.0.1", '"[2001:db8:1:2:3:4:5:6]:4711"', "2001:db8:1:2::/64"],
    ["counts as IPv4 when it is mapped", "::ffff:203.0.113.5", "192.0.2.1", "203.0.113.5"],
    ["counts as IPv4 when it is mapped, in hexadecimal", "127.0.0.1", "::FFFF:cb00:7105", "203.0.113.5"],
    ["of a proxy may be mapped", "::ffff:127.0.0.1", "192.0.2.1", "192.0.2.1"],
    ["of a proxy may be IPv6", "2001:db8:ffff:1::9", "192.0.2.1", "192.0.2.1"],
    ["of a proxy may be listed alone", "198.51.100.7", "192.0.2.1", "192.0.2.1"],
    ["next to a listed one is not trusted", "198.51.100.8", "192.0.2.1", "198.51.100.8"],
  ])("%s", (_what, peer, header, expected) => {
    expect(proxies.of(forwarded(peer, header))).toBe(expected);
  });

  test.each([
    ["2001:db8:1:2::", "2001:db8:1:2::/64"],
    ["2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"],
    ["2001:DB8:1:2:0:0:0:1", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["::", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["1::", "1:0:0:0::/64"],
    ["1:2:3:4:5:6:1.2.3.4", "1:2:3:4::/64"],
  ])("of IPv6 is its /64 network: %s", (address, network) => {
    expect(createAddresses(new BlockList()).of(request(address))).toBe(network);
  });

  test("behind a proxy that is not trusted: a warning names the setting, once", () => {
    const said = vi.spyOn(console, "error").mockImplementation(() => {});
    const addresses = createAddresses(new BlockList());
    for (const peer of ["203.0.113.5", "::ffff:10.0.0.7", "10.0.0.8"]) addresses.of(forwarded(peer, "192.0.2.1"));
    addresses.of(request("10.0.0.9"));
    expect(said.mock.calls).toEqual([[expect.stringContaining("set INSIGHTS_TRUSTED_PROXIES=10.0.0.7, or all")]]);
    said.mockRestore();
  });

  test("that is unknown is empty", () => {
    expect(proxies.of(request(undefined, { "x-forwarded-for": "192.0.2.1" }))).toBe("");
  });

  test("is found in a header with 10,000 entries", () => {
    const many = Array.from({ length: 10_000 }, () => "192.0.2.1").join(", ");
    expect(proxies.of(forwarded("127.0.0.1", `${many}, 192.0.2.9, 10.0.0.1`))).toBe("192.0.2.9");
    const trusted = Array.from({ length: 10_000 }, () => "10.0.0.1").join(",");
    expect(proxies.of(forwarded("127.0.0.1", `192.0.2.9,${trusted}`))).toBe("192.0.2.9");
    expect(proxies.of(forwarded("127.0.0.1", ",".repeat(10_000)))).toBe("127.0.0.1");
  });
});

describe("scheme and host", () => {
  const headers = { host: "inner:5678", "x-forwarded-proto": "https", "x-forwarded-host": "Campus.Example" };

  test("are those that a trusted proxy forwards", () => {
    const { target } = trusting("127.0.0.1");
    expect(target(request("127.0.0.1", headers))).toEqual({ secure: true, host: "campus.example" });
    expect(target(request("127.0.0.1", { host: "inner:5678" }))).toEqual({ secure: false, host: "inner:5678" });
    expect(target(request("203.0.113.5", headers))).toEqual({ secure: false, host: "inner:5678" });
  });
});

describe("INSIGHTS_TRUSTED_PROXIES", () => {
  test.each(["loopback", "private,linklocal", "10.1.0.0/16, 2001:db8::/32", "192.0.2.7", ""])("may be %j", (text) => {
    expect(() => readConfig({ INSIGHTS_TRUSTED_PROXIES: text })).not.toThrow();
  });

  test.each([
    ["a name", "proxy.example"],
    ["a number of hops", "1"],
    ["true", "true"],
    ["all addresses", "0.0.0.0/0"],
    ["all IPv6 addresses", "::/0"],
    ["a prefix that is too long", "10.0.0.0/33"],
    ["an empty entry", "10.0.0.1,,10.0.0.2"],
    ["an inherited name", "constructor"],
  ])("may not be %s", (_what, text) => {
    expect(() => readConfig({ INSIGHTS_TRUSTED_PROXIES: text })).toThrow(
      `INSIGHTS_TRUSTED_PROXIES is "${text}": expected addresses and networks`,
    );
  });
});
