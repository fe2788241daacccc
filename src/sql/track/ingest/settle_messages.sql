create or replace function track._settle_messages(
  inout messages track.parsed_message[],
  inout signalled track.parsed_message[],
  inout born track.parsed_message[],
  sender track.message_sender,
  links boolean,
  browsers boolean,
  out identities bigint[],
  out people bigint[],
  out erased track.parsed_message[]
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_locked bigint[];
  v_is_complete boolean;
  v_placed record;
  v_erased track.parsed_message[];
begin
  erased := '{}';
  for v_attempt in 1 .. 100 loop
    v_locked := track._named_identities(messages || signalled || born);
    -- The persons of the identities must not change from here to the end of the transaction, or what is stored next
    -- would be stored for a former person.
    if links then
      v_is_complete := track._link_people_of(messages, v_locked);
    else
      v_is_complete := track.lock_identities(v_locked);
    end if;
    v_placed := track._place_messages(messages, browsers);
    identities := v_placed.identities;
    people := v_placed.people;
    -- An identity of a browser that was unlinked meanwhile has a sibling, which is locked as well.
    if coalesce(cardinality(identities), 0) = cardinality(messages)
      and (v_is_complete or num_nonnulls(signalled, nullif(born, '{}')) = 0)
    then
      return;
    end if;

    -- A person was erased while this transaction waited for her identities.
    messages := track._refuse_suppressed(messages, sender);
    signalled := track._refuse_suppressed(signalled, sender);
    born := track._refuse_suppressed(born, sender);
    v_erased := array(select message from unnest(messages) as message where message.problem is not null);
    erased := erased || v_erased;
    messages := array(select message from unnest(messages) as message where message.problem is null);
    perform track._enter_people_of(messages);
  end loop;

  perform common.refuse(
    'serialization_failure', 'people of the batch were erased concurrently', 'Send the batch again.'
  );
end;
$$;

comment on function track._settle_messages(
  track.parsed_message[], track.parsed_message[], track.parsed_message[], track.message_sender, boolean, boolean
) is $$
Links and locks the identities of a batch, and returns for each message its identity and person, which stay as they are.
`signalled` and `born`: the messages with an opt-out signal and with a date of birth, whose people are locked as well.
`links`: whether a message links identities; `browsers`: whether one is of a browser. Messages of people who were erased
meanwhile are returned in `erased`, with the problem, and no longer among the others.
Errors: 40001 when people of the batch are erased again and again.
$$;
