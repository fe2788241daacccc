/** A message in Segment's format, as `track.ingest` accepts it. */
export interface Message {
  type: "track" | "page" | "screen" | "identify" | "alias" | "group";
  messageId: string;
  userId?: string;
  anonymousId?: string;
  event?: string;
  name?: string;
  properties?: Record<string, unknown>;
  traits?: Record<string, unknown>;
  context?: Record<string, unknown>;
  timestamp: string;
  sentAt?: string;
  receivedAt?: string;
}
