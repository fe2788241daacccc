create or replace function track._agent_name(agent jsonb)
returns text
language sql
immutable
parallel safe
return coalesce(
  agent #>> '{account,name}', substr(agent ->> 'mbox', 8), agent ->> 'openid', 'sha1:' || (agent ->> 'mbox_sha1sum')
);

comment on function track._agent_name(jsonb) is $$
Returns the name of a person for an xAPI agent.
It is the name of its account, its address without `mailto:`, its OpenID, or `sha1:` and the hash of its address; null
for a group without an identifier.
$$;

create or replace function track._agent_identifier(agent jsonb)
returns text
language sql
immutable
parallel safe
return coalesce(
  'account ' || (agent #>> '{account,homePage}') || ' ' || (agent #>> '{account,name}'),
  'mbox ' || (agent ->> 'mbox'), 'openid ' || (agent ->> 'openid'), 'mbox_sha1sum ' || lower(agent ->> 'mbox_sha1sum')
);

comment on function track._agent_identifier(jsonb) is $$
Returns the inverse functional identifier of an xAPI agent as one text; null for a group without one.
$$;
