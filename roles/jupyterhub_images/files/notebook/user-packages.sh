# For terminals and kernels: the Python with the user's packages. The server itself does not use it.
PATH=/opt/jupyter/bin:$PATH
if [ -x /opt/user/packages/bin/python ]; then
  VIRTUAL_ENV=/opt/user/packages
  PATH=$VIRTUAL_ENV/bin:$PATH
  export VIRTUAL_ENV
fi
export PATH
