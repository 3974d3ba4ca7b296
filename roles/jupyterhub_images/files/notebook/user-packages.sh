# For terminals and kernels: the Python with the user's packages, which also has to find the kernels and templates of the
# image. The server itself does not use this.
PATH=/opt/jupyter/bin:$PATH
if [ -x /opt/user/packages/bin/python ]; then
  VIRTUAL_ENV=/opt/user/packages
  PATH=$VIRTUAL_ENV/bin:$PATH
  export VIRTUAL_ENV
fi
JUPYTER_PATH=${JUPYTER_PATH:+$JUPYTER_PATH:}/opt/jupyter/share/jupyter
export PATH JUPYTER_PATH
