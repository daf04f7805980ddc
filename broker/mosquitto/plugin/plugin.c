/* Mosquitto's plugin (API 5): Python decides, C remembers.

   Rules
   - Who may connect, publish and subscribe is decided by `broker.mosquitto.desk`, the same Python as everywhere. What a
     connection was once told is remembered here, so that a message costs no Python.
   - Without a record nothing may be written or subscribed; reading is allowed, because the broker asks before it queues
     for sessions whose owner is away. The queue is asked for again when the owner comes back.
   - The API shows no will at CONNECT: Mosquitto asks for it as for any publish when it is sent, which is after
     the DISCONNECT event. So a record outlives its connection, without its decisions, until the desk lets it go.
   - Clients are disconnected within the TICK event alone: anywhere else the broker still holds the pointers.
   - The broker ends when the process that started it has ended (`plugin_opt_parent`), so that nobody's Mosquitto stays.

   Included by the source that cffi generates (broker/mosquitto/build.py), after <Python.h>. */

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

#include "memory.h"

#define TICK_MS 100
#define REFUSED 0
#define DEVICE 1
#define OURS 2

/* Python's part; cffi defines these. */
static int desk_open(const char *folder, const char *gate);
static int desk_authenticate(uintptr_t client, const char *id, const char *username, const char *password);
static int desk_check(uintptr_t client, int access, const char *topic, int qos, int retain);
static void desk_left(uintptr_t client);
static void desk_tick(void);

static mosquitto_plugin_id_t *plugin;
static int64_t ticked_at;
static pid_t parent;

/* For Python. */
static void plugin_kick(const char *id) { mosquitto_kick_client_by_clientid(id, true); }
static void plugin_forget(uintptr_t client) { record_forget((const void *)client); }
static void plugin_log(int level, const char *text) { mosquitto_log_printf(level, "tidings: %s", text); }

static const char *or_empty(const char *text) { return text ? text : ""; }

static int on_basic_auth(int event, void *data, void *userdata)
{
    struct mosquitto_evt_basic_auth *asked = data;
    (void)event; (void)userdata;
    int answer = desk_authenticate((uintptr_t)asked->client, or_empty(mosquitto_client_id(asked->client)),
                                   or_empty(asked->username), or_empty(asked->password));
    if(answer == DEVICE || answer == OURS){
        uint32_t most = answer == OURS ? MOST_DECISIONS_OURS : MOST_DECISIONS;
        return record_begin(asked->client, most) ? MOSQ_ERR_SUCCESS : MOSQ_ERR_UNKNOWN;
    }
    record_forget(asked->client);
    /* "Unknown" closes without an answer: try again, nothing is wrong with the token. */
    return answer == REFUSED ? MOSQ_ERR_AUTH : MOSQ_ERR_UNKNOWN;
}

static int on_acl_check(int event, void *data, void *userdata)
{
    struct mosquitto_evt_acl_check *asked = data;
    (void)event; (void)userdata;
    if(asked->access == MOSQ_ACL_UNSUBSCRIBE) return MOSQ_ERR_SUCCESS;
    struct record *one = record_find(asked->client);
    if(!one) return asked->access == MOSQ_ACL_READ ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
    if(asked->access == MOSQ_ACL_SUBSCRIBE){
        bool granted = desk_check((uintptr_t)asked->client, asked->access, asked->topic, asked->qos, 0);
        return granted ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
    }
    bool write = asked->access == MOSQ_ACL_WRITE;
    uint16_t about = (uint16_t)(asked->access | (write ? asked->qos << 8 | asked->retain << 12 : 0));
    uint64_t hash = hash_of(about, asked->topic);
    const struct decision *known = decision_find(one, hash, about, asked->topic);
    if(known) return known->allowed ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
    int answer = desk_check((uintptr_t)asked->client, asked->access, asked->topic, asked->qos, asked->retain);
    if(answer >= 0) decision_remember(one, hash, about, asked->topic, answer == 1);
    return answer == 1 ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
}

static int on_disconnect(int event, void *data, void *userdata)
{
    struct mosquitto_evt_disconnect *told = data;
    (void)event; (void)userdata;
    struct record *one = record_find(told->client);
    if(!one) return MOSQ_ERR_SUCCESS;
    decisions_forget(one);
    desk_left((uintptr_t)told->client);
    return MOSQ_ERR_SUCCESS;
}

static int on_tick(int event, void *data, void *userdata)
{
    (void)event; (void)data; (void)userdata;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    if(ms - ticked_at < TICK_MS) return MOSQ_ERR_SUCCESS;
    ticked_at = ms;
    if(parent && getppid() != parent){
        plugin_log(MOSQ_LOG_WARNING, "the process that started this broker has ended");
        parent = 0;
        raise(SIGTERM);
    }
    desk_tick();
    return MOSQ_ERR_SUCCESS;
}

static const char *option(struct mosquitto_opt *options, int count, const char *name)
{
    for(int number = 0; number < count; number++){
        if(!strcmp(options[number].key, name)) return options[number].value;
    }
    return "";
}

/* Start Python as the environment's own interpreter would: its program name leads it to its site-packages. It is
   isolated (no PYTHON* variables, no user's folder), leaves signals to the broker, and its library's symbols are made
   global for the extension modules, which do not link to it. */
static bool start_python(const char *program)
{
    if(Py_IsInitialized()) return true;
    if(!dlopen(LIBPYTHON, RTLD_NOW | RTLD_GLOBAL)){
        mosquitto_log_printf(MOSQ_LOG_ERR, "tidings: %s", dlerror());
        return false;
    }
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    PyStatus status = PyConfig_SetBytesString(&config, &config.program_name, program);
    if(!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if(PyStatus_Exception(status)){
        mosquitto_log_printf(MOSQ_LOG_ERR, "tidings: Python did not start: %s", or_empty(status.err_msg));
        return false;
    }
    return true;
}

/* Put further folders, separated by ':', before Python's path. Called with the GIL held. */
static void add_path(const char *folders)
{
    PyObject *path = PySys_GetObject("path"), *text = PyUnicode_DecodeFSDefault(folders);
    PyObject *colon = PyUnicode_FromString(":"), *parts = text && colon ? PyUnicode_Split(text, colon, -1) : NULL;
    if(path && parts && *folders) PyList_SetSlice(path, 0, 0, parts);
    PyErr_Clear();
    Py_XDECREF(parts); Py_XDECREF(colon); Py_XDECREF(text);
}

mosq_plugin_EXPORT int mosquitto_plugin_version(int count, const int *versions)
{
    for(int number = 0; number < count; number++) if(versions[number] == 5) return 5;
    return -1;
}

mosq_plugin_EXPORT int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                                             struct mosquitto_opt *options, int count)
{
    (void)userdata;
    bool first = !Py_IsInitialized();
    if(!start_python(option(options, count, "python"))) return MOSQ_ERR_UNKNOWN;
    if(first){
        add_path(option(options, count, "path"));
        PyEval_SaveThread();
    }
    parent = (pid_t)atol(option(options, count, "parent"));
    if(desk_open(option(options, count, "folder"), option(options, count, "gate")) != 1){
        plugin_log(MOSQ_LOG_ERR, "the desk did not open; see above");
        return MOSQ_ERR_UNKNOWN;
    }
    plugin = identifier;
    mosquitto_callback_register(plugin, MOSQ_EVT_BASIC_AUTH, on_basic_auth, NULL, NULL);
    mosquitto_callback_register(plugin, MOSQ_EVT_ACL_CHECK, on_acl_check, NULL, NULL);
    mosquitto_callback_register(plugin, MOSQ_EVT_DISCONNECT, on_disconnect, NULL, NULL);
    mosquitto_callback_register(plugin, MOSQ_EVT_TICK, on_tick, NULL, NULL);
    return MOSQ_ERR_SUCCESS;
}

mosq_plugin_EXPORT int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
    (void)userdata; (void)options; (void)count;
    mosquitto_callback_unregister(plugin, MOSQ_EVT_BASIC_AUTH, on_basic_auth, NULL);
    mosquitto_callback_unregister(plugin, MOSQ_EVT_ACL_CHECK, on_acl_check, NULL);
    mosquitto_callback_unregister(plugin, MOSQ_EVT_DISCONNECT, on_disconnect, NULL);
    mosquitto_callback_unregister(plugin, MOSQ_EVT_TICK, on_tick, NULL);
    records_forget();
    return MOSQ_ERR_SUCCESS;
}
