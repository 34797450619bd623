//! The cluster's configuration file and keyrings.

use std::net::Ipv4Addr;
use std::path::Path;

use crate::state::write_private;
use crate::{Error, Network, Program};

/// The keys of a fresh cluster.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) admin: String,
}

/// Everything the configuration file depends on.
#[derive(Debug)]
pub(crate) struct Config<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) fsid: &'a str,
    pub(crate) monitors: &'a str,
    pub(crate) osd_bytes: u64,
    pub(crate) network: Network,
}

/// Daemons with the name of their section and their capabilities.
const DAEMONS: [(&str, &[(&str, &str)]); 4] = [
    ("mon.", &[("mon", "allow *")]),
    (
        "mgr.x",
        &[
            ("mon", "allow profile mgr"),
            ("osd", "allow *"),
            ("mds", "allow *"),
        ],
    ),
    (
        "osd.0",
        &[
            ("mon", "allow profile osd"),
            ("mgr", "allow profile osd"),
            ("osd", "allow *"),
        ],
    ),
    (
        "mds.a",
        &[
            ("mon", "allow profile mds"),
            ("osd", "allow rwx"),
            ("mds", "allow"),
            ("mgr", "allow profile mds"),
        ],
    ),
];

const ADMIN: (&str, &[(&str, &str)]) = (
    "client.admin",
    &[
        ("mon", "allow *"),
        ("osd", "allow *"),
        ("mds", "allow *"),
        ("mgr", "allow *"),
    ],
);

/// Writes `ceph.conf`. Nothing in it points outside the cluster's directory.
pub(crate) fn write(config: &Config<'_>) -> Result<(), Error> {
    let Config {
        dir,
        fsid,
        monitors,
        osd_bytes,
        network,
    } = config;
    let (address, legacy) = match network {
        Network::Loopback => (Ipv4Addr::LOCALHOST, false),
        Network::Own(address) => (*address, true),
    };
    let dir = dir.display();
    let daemon = format!(
        "keyring = {dir}/daemons.keyring\n\
         admin_socket = {dir}/run/$name.asok\n\
         log_file = {dir}/log/$name.log\n\
         pid_file = {dir}/run/$name.pid\n"
    );
    let text = format!(
        "# A throw-away test cluster.\n\
         [global]\n\
         fsid = {fsid}\n\
         mon_host = {monitors}\n\
         public_addr = {address}\n\
         ms_bind_msgr1 = {legacy}\n\
         auth_cluster_required = cephx\n\
         auth_service_required = cephx\n\
         auth_client_required = cephx\n\
         auth_allow_insecure_global_id_reclaim = false\n\
         keyring = {dir}/admin.keyring\n\
         run_dir = {dir}/run\n\
         crash_dir = {dir}/crash\n\
         log_to_stderr = false\n\
         err_to_stderr = true\n\
         osd_pool_default_size = 1\n\
         osd_pool_default_min_size = 1\n\
         osd_pool_default_pg_num = 8\n\
         osd_pool_default_pgp_num = 8\n\
         osd_pool_default_pg_autoscale_mode = off\n\
         osd_crush_chooseleaf_type = 0\n\
         mon_allow_pool_size_one = true\n\
         mon_allow_pool_delete = true\n\
         \n[mon]\n{daemon}\
         mon_data = {dir}/data/mon\n\
         mon_initial_members = a\n\
         # Commit at once; a single monitor has nobody to batch for.\n\
         paxos_propose_interval = 0.05\n\
         mon_data_avail_warn = 1\n\
         mon_data_avail_crit = 0\n\
         mon_max_pg_per_osd = 10000\n\
         mon_pg_warn_min_per_osd = 0\n\
         mon_warn_on_pool_no_redundancy = false\n\
         mon_cluster_log_to_stderr = false\n\
         mon_allow_pool_size_one = true\n\
         \n[mgr]\n{daemon}\
         mgr_data = {dir}/data/mgr\n\
         mgr_module_path = {dir}/mgr-modules\n\
         mgr_initial_modules =\n\
         mgr_tick_period = 1\n\
         mgr_stats_period = 2\n\
         \n[osd]\n{daemon}\
         osd_data = {dir}/data/osd\n\
         osd_objectstore = memstore\n\
         memstore_device_bytes = {osd_bytes}\n\
         # memstore counts what it holds without a lock: several threads lose counts, and what falls\n\
         # below zero counts as full, which stops every write of the cluster.\n\
         osd_op_num_shards = 1\n\
         osd_op_num_threads_per_shard = 1\n\
         osd_op_queue = wpq\n\
         osd_snap_trim_sleep_hdd = 0\n\
         osd_mclock_skip_benchmark = true\n\
         # Tests stop the daemon with a signal for a while; it must not take that for a hang.\n\
         osd_op_thread_suicide_timeout = 0\n\
         osd_heartbeat_grace = 3600\n\
         # Tests kill clients that have images open; the default of 30 s would make each wait.\n\
         osd_client_watch_timeout = 10\n\
         \n[mds]\n{daemon}\
         mds_data = {dir}/data/mds\n\
         mds_beacon_interval = 1\n\
         \n[client]\n\
         log_file =\n\
         admin_socket =\n"
    );
    write_private(&config.dir.join("ceph.conf"), text.as_bytes())
}

/// Makes fresh keys and writes the keyrings: the administrator's, the daemons', and both together
/// for the monitor's first start.
pub(crate) fn write_keyrings(dir: &Path) -> Result<Keys, Error> {
    let mut daemons = String::new();
    for (entity, caps) in DAEMONS {
        daemons.push_str(&entry(entity, &fresh_key()?, caps));
    }
    let admin = fresh_key()?;
    let admin_entry = entry(ADMIN.0, &admin, ADMIN.1);
    write_private(&dir.join("daemons.keyring"), daemons.as_bytes())?;
    write_private(&dir.join("admin.keyring"), admin_entry.as_bytes())?;
    write_private(
        &dir.join("first.keyring"),
        format!("{daemons}{admin_entry}").as_bytes(),
    )?;
    Ok(Keys { admin })
}

fn fresh_key() -> Result<String, Error> {
    Ok(Program::new("ceph-authtool")
        .arg("--gen-print-key")
        .ok()?
        .text())
}

fn entry(entity: &str, key: &str, caps: &[(&str, &str)]) -> String {
    let mut text = format!("[{entity}]\n\tkey = {key}\n");
    for (service, rights) in caps {
        text.push_str(&format!("\tcaps {service} = \"{rights}\"\n"));
    }
    text
}
