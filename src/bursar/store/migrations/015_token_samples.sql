-- What calls' texts were made of, and the input tokens their provider reported: what estimates of tokens are learned from.
-- Counts by class alone, never a text. Only the last of each target are kept.

create table token_samples (
    tenant      integer    not null,
    provider    text       not null,
    model       text       not null,
    seq         bigint     not null generated always as identity,
    counts      integer[]  not null,  -- of each feature, in the order of bursar.tokens.features
    tokens      integer    not null check (tokens > 0),
    event_us    bigint     not null,
    primary key (tenant, provider, model, seq)
);
