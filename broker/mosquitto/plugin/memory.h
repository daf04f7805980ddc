/* What the plugin remembers: a record for each connection, and in it the decisions that were made for it.

   Rules
   - A record is known by the address of the broker's `struct mosquitto`. Addresses are used again: authentication makes
     a record anew, and a refused one ends it.
   - A decision is remembered by all that it was made from: access, QoS, retain and the whole topic (no digest decides).
   - Everything is bounded: a record holds at most `MOST_DECISIONS` (a device) or `MOST_DECISIONS_OURS` (a bridge, which
     says and hears everybody's topics). A full table forgets; what is forgotten is asked again.
   - What memory cannot be had for is not remembered. */

#ifndef TIDINGS_MEMORY_H
#define TIDINGS_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_DECISIONS 16u
#define MOST_DECISIONS 64u
#define MOST_DECISIONS_OURS 16384u
#define LONGEST_TOPIC 512u
#define FIRST_BUCKETS 1024u

struct decision {
    char *topic; /* NULL: an empty place */
    uint64_t hash;
    uint16_t asked; /* access, QoS and retain */
    bool allowed;
};

struct record {
    const void *client;
    struct record *next;
    struct decision *decisions;
    uint32_t places; /* 0, or a power of two */
    uint32_t used;
    uint32_t most;
};

static struct record **buckets;
static uint32_t bucket_count, record_count;

static uint32_t bucket_of(const void *client, uint32_t count)
{
    uint64_t mixed = ((uint64_t)(uintptr_t)client >> 4) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(mixed >> 32) & (count - 1);
}

static struct record *record_find(const void *client)
{
    if(!buckets) return NULL;
    struct record *one = buckets[bucket_of(client, bucket_count)];
    while(one && one->client != client) one = one->next;
    return one;
}

static void decisions_forget(struct record *one)
{
    for(uint32_t place = 0; place < one->places; place++) free(one->decisions[place].topic);
    free(one->decisions);
    one->decisions = NULL;
    one->places = one->used = 0;
}

static void record_forget(const void *client)
{
    if(!buckets) return;
    struct record **link = &buckets[bucket_of(client, bucket_count)];
    while(*link && (*link)->client != client) link = &(*link)->next;
    struct record *gone = *link;
    if(!gone) return;
    *link = gone->next;
    decisions_forget(gone);
    free(gone);
    record_count--;
}

static void records_forget(void)
{
    for(uint32_t number = 0; number < bucket_count; number++){
        while(buckets[number]) record_forget(buckets[number]->client);
    }
    free(buckets);
    buckets = NULL;
    bucket_count = record_count = 0;
}

/* Make room for one record more: the buckets double when there is a record for each. */
static bool buckets_grow(void)
{
    if(buckets && record_count < bucket_count) return true;
    uint32_t count = buckets ? 2 * bucket_count : FIRST_BUCKETS;
    struct record **fresh = calloc(count, sizeof *fresh);
    if(!fresh) return buckets != NULL;
    for(uint32_t number = 0; number < bucket_count; number++){
        for(struct record *one = buckets[number], *next; one; one = next){
            next = one->next;
            uint32_t place = bucket_of(one->client, count);
            one->next = fresh[place];
            fresh[place] = one;
        }
    }
    free(buckets);
    buckets = fresh;
    bucket_count = count;
    return true;
}

/* Begin a record without decisions; an older one of this address is gone. False: there is no memory for it. */
static bool record_begin(const void *client, uint32_t most)
{
    record_forget(client);
    struct record *one = buckets_grow() ? calloc(1, sizeof *one) : NULL;
    if(!one) return false;
    uint32_t place = bucket_of(client, bucket_count);
    one->client = client;
    one->most = most;
    one->next = buckets[place];
    buckets[place] = one;
    record_count++;
    return true;
}

/* FNV-1a: it only spreads; equality is decided by the topic itself. */
static uint64_t hash_of(uint16_t asked, const char *topic)
{
    uint64_t hash = (0xCBF29CE484222325u ^ asked) * 0x100000001B3u;
    for(const unsigned char *at = (const unsigned char *)topic; *at; at++) hash = (hash ^ *at) * 0x100000001B3u;
    return hash ^ (hash >> 29);
}

/* A decision has two places to be in: its own and the one beside it. */
static struct decision *decision_find(const struct record *one, uint64_t hash, uint16_t asked, const char *topic)
{
    for(uint32_t beside = 0; one->places && beside < 2; beside++){
        struct decision *at = &one->decisions[((uint32_t)hash & (one->places - 1)) ^ beside];
        if(at->topic && at->hash == hash && at->asked == asked && !strcmp(at->topic, topic)) return at;
    }
    return NULL;
}

static void decision_put(struct record *one, struct decision fresh)
{
    struct decision *at = &one->decisions[(uint32_t)fresh.hash & (one->places - 1)];
    if(at->topic){
        struct decision *beside = &one->decisions[((uint32_t)fresh.hash & (one->places - 1)) ^ 1u];
        if(!beside->topic) at = beside;
    }
    if(at->topic) free(at->topic);
    else one->used++;
    *at = fresh;
}

static void decisions_grow(struct record *one)
{
    if(one->places && (2 * one->used < one->places || one->places >= one->most)) return;
    struct record grown = *one;
    grown.places = one->places ? 2 * one->places : FIRST_DECISIONS;
    grown.used = 0;
    grown.decisions = calloc(grown.places, sizeof *grown.decisions);
    if(!grown.decisions) return;
    for(uint32_t place = 0; place < one->places; place++){
        if(one->decisions[place].topic) decision_put(&grown, one->decisions[place]);
    }
    free(one->decisions);
    *one = grown;
}

static void decision_remember(struct record *one, uint64_t hash, uint16_t asked, const char *topic, bool allowed)
{
    if(strlen(topic) > LONGEST_TOPIC) return;
    decisions_grow(one);
    char *kept = one->places ? strdup(topic) : NULL;
    if(!kept) return;
    decision_put(one, (struct decision){.topic = kept, .hash = hash, .asked = asked, .allowed = allowed});
}

#endif
