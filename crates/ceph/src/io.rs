//! An I/O context: one pool and one RADOS namespace to work in.

use std::fmt;
use std::ptr;
use std::sync::{Arc, PoisonError};

use ceph_sys::rados;
use cuttle_model::{PoolId, RadosNamespace};

use crate::clusters::Cluster;
use crate::connection::{Connection, text};
use crate::error::{Errno, Error};
use crate::pools::PoolRef;
use crate::read::{ReadOp, read_many};

/// A pool and namespace of a connected cluster. Cheap to clone; keeps the connection open.
#[derive(Clone)]
pub struct Io {
    pub(crate) cluster: Cluster,
    pub(crate) context: Arc<Context>,
}

/// A `rados_ioctx_t`, freed on drop.
pub(crate) struct Context {
    handle: rados::rados_ioctx_t,
    pool: i64,
    pool_name: Box<str>,
    namespace: RadosNamespace,
    /// Keeps the connection open for as long as the context lives.
    _connection: Arc<Connection>,
}

// SAFETY: an I/O context may be used from any thread and by several at once, except while its
// namespace or flags are set, which happens only before it is shared.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the handle is live and this is its last user; librados keeps what operations
        // still under way need.
        unsafe { rados::rados_ioctx_destroy(self.handle) };
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Io({})", self.name("*"))
    }
}

impl Cluster {
    /// An I/O context for a pool, by number or name, and a namespace. Kept and shared: only the
    /// first for a pool and namespace costs anything.
    ///
    /// # Errors
    /// `is_absent` when the cluster has no such pool (its own answer); otherwise as
    /// [`Cluster::pool_id`].
    pub fn io<'p>(
        &self,
        pool: impl Into<PoolRef<'p>>,
        namespace: &RadosNamespace,
    ) -> Result<Io, Error> {
        let (pool, name) = self.resolve(pool.into())?;
        let contexts = || {
            self.inner
                .contexts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let key = (pool, namespace.as_str().to_owned());
        if let Some(context) = contexts().get(&key)
            && *context.pool_name == *name
        {
            return Ok(Io {
                cluster: self.clone(),
                context: Arc::clone(context),
            });
        }
        let context = Context::open(&self.inner.connection, pool, &name, namespace)
            .map_err(|errno| Error::new("rados.io_context", format!("pool {name}"), errno))?;
        let context = Arc::new(context);
        contexts().insert(key, Arc::clone(&context));
        Ok(Io {
            cluster: self.clone(),
            context,
        })
    }
}

impl Context {
    fn open(
        connection: &Arc<Connection>,
        pool: i64,
        pool_name: &str,
        namespace: &RadosNamespace,
    ) -> Result<Self, Errno> {
        let wanted = text(namespace.as_str())?;
        let mut handle = ptr::null_mut();
        // SAFETY: the connection is live; the handle is written on success.
        let result =
            unsafe { rados::rados_ioctx_create2(connection.handle(), pool, &raw mut handle) };
        Errno::check(result)?;
        let context = Self {
            handle,
            pool,
            pool_name: pool_name.into(),
            namespace: namespace.clone(),
            _connection: Arc::clone(connection),
        };
        // SAFETY: the handle is live and not shared yet; the text is NUL-terminated and copied.
        unsafe { rados::rados_ioctx_set_namespace(handle, wanted.as_ptr()) };
        // A full pool is to be answered as such, at once, instead of at the time-out.
        // SAFETY: the handle is live and not shared yet.
        unsafe { rados::rados_set_pool_full_try(handle) };
        Ok(context)
    }
}

impl Io {
    /// The pool's number.
    #[must_use]
    pub fn pool_id(&self) -> PoolId {
        PoolId::new(self.context.pool)
    }

    /// The pool's name when the context was made.
    #[must_use]
    pub fn pool_name(&self) -> &str {
        &self.context.pool_name
    }

    /// The RADOS namespace.
    #[must_use]
    pub fn namespace(&self) -> &RadosNamespace {
        &self.context.namespace
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Whether the pool has been made for RBD (`rbd pool init`): the application `rbd` is enabled
    /// on it, or it holds RBD's `rbd_info` object. A yes is remembered, a no is asked again.
    ///
    /// # Errors
    /// Those of fetching the map and of reading one object, for a pool not known to be.
    ///
    /// # Blocking
    /// Not for a pool whose application is in the client's map.
    pub fn pool_is_initialised(&self) -> Result<bool, Error> {
        let known = || {
            self.cluster
                .inner
                .pools
                .initialised
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let pool = self.context.pool;
        if known().contains(&pool) {
            return Ok(true);
        }
        let mut initialised = self.is_application_enabled("rbd")?;
        if !initialised {
            self.cluster.refresh_map()?;
            initialised = self.is_application_enabled("rbd")?;
        }
        if !initialised {
            let io = self
                .cluster
                .io(self.pool_id(), &RadosNamespace::default())?;
            initialised = io.read("rbd_info", 64)?.is_some();
        }
        if initialised {
            known().insert(pool);
        }
        Ok(initialised)
    }

    fn is_application_enabled(&self, wanted: &str) -> Result<bool, Error> {
        let mut names = vec![0_u8; 4096];
        let mut length = names.len();
        let start = names.as_mut_ptr().cast();
        // SAFETY: the context is live; `start` is valid for writing `length` bytes.
        let result =
            unsafe { rados::rados_application_list(self.handle(), start, &raw mut length) };
        match Errno::check(result) {
            Ok(_) => {
                names.truncate(length);
                Ok(names
                    .split(|byte| *byte == 0)
                    .any(|name| name == wanted.as_bytes()))
            }
            Err(errno) if errno.get() == libc::ENOENT => Ok(false),
            Err(errno) => Err(Error::new("rados.applications", self.pool_name(), errno)),
        }
    }

    /// Reads an object's data, up to `max` bytes; `None` when the cluster says there is no such
    /// object.
    ///
    /// # Errors
    /// Any other failure of the read.
    pub fn read(&self, object: &str, max: usize) -> Result<Option<Vec<u8>>, Error> {
        let reply = self.read_one(ReadOp::data(object, max))?;
        Ok(reply.map(|reply| reply.bytes))
    }

    /// Calls a reading method of an object class; `None` when the object (or what the method
    /// looks for in it) does not exist.
    ///
    /// # Errors
    /// Any other failure of the call.
    pub fn exec(
        &self,
        object: &str,
        class: &str,
        method: &str,
        input: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        let reply = self.read_one(ReadOp::exec(object, class, method, input))?;
        Ok(reply.map(|reply| reply.bytes))
    }

    pub(crate) fn read_one(&self, op: ReadOp) -> Result<Option<crate::read::ReadReply>, Error> {
        let absent = || {
            Err(Error::new(
                "rados.read",
                self.name("?"),
                Errno::new(libc::EIO),
            ))
        };
        read_many(&[(self, op)]).pop().unwrap_or_else(absent)
    }

    pub(crate) fn handle(&self) -> rados::rados_ioctx_t {
        self.context.handle
    }

    /// `pool/namespace/what`, as `rbd` writes it.
    pub(crate) fn name(&self, what: &str) -> String {
        let pool = &self.context.pool_name;
        match self.context.namespace.as_str() {
            "" => format!("{pool}/{what}"),
            namespace => format!("{pool}/{namespace}/{what}"),
        }
    }

    /// Makes one blocking call through the door.
    pub(crate) fn call<T>(
        &self,
        call: &'static str,
        what: &str,
        f: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, Error> {
        let target = self.name(what);
        self.cluster.inner.door.call(call, &target, || {
            f().map_err(|errno| self.error(call, &target, errno))
        })
    }

    /// An error of a call on this context; remembers when it says that the client is fenced.
    pub(crate) fn error(&self, call: &'static str, target: &str, errno: Errno) -> Error {
        self.cluster.inner.connection.note(errno);
        Error::new(call, target, errno)
    }
}
