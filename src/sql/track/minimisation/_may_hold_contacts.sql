create or replace function track._may_hold_contacts(value text)
returns boolean
language sql
immutable
parallel safe
-- True for all that `track._without_emails` and `track._without_phones` find, and for little else: not for a UUID. Most
-- messages contain one. Without assertions, so that a long text takes about as long as its conversion from jsonb. The
-- start takes longer than a short message: the messages of a batch are checked together.
return value ~ (
  '@|%40|(?:\+|%2[Bb])\(?[1-9]'
  '|[2-9][0-9][0-9](?:\)[-. ]?|[-. \u00a0])[2-9][0-9][0-9][-. \u00a0][0-9]{4}'
  -- After an escape, or a character that is not part of a word or a number.
  '|(?:[^a-zA-Z0-9_.,:/+-]|\\[a-z](?:[0-9a-f]{4})?)'
    '(?:00[1-9][0-9]{0,2}[-. /]\(?[0-9]|\(?0[1-9][0-9]{0,4}\)?[-/. \u00a0\u202f]{1,2}[0-9]{2})'
  '|(?:hone|obile|elefon|andy|hats[Aa]pp|ell|[Ff]ax|[Tt]el)(?:[ _]?[Nn](?:umber|r|o))?["=:. ]{1,3}[("+]{0,2}[0-9]'
);

comment on function track._may_hold_contacts(text) is $$
Returns whether the text of a JSON value may contain an e-mail address or a phone number.
$$;
