-- Uploads of Gemini's files that are under way: begun with a key, gone on with by an address that names one of these.

create table uploads (
    upload_id   text     primary key,
    tenant      integer  not null,
    key_id      text     not null,
    provider    text     not null,
    path        text     not null default '',  -- where at the provider it goes on; empty: it has not begun there
    media_type  text     not null,
    bytes       bigint   not null,             -- as its client said
    about       bytea    not null,             -- what the provider is told of the file, as JSON
    created_us  bigint   not null
);

create index uploads_by_age on uploads (created_us);
